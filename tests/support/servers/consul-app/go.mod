module rpcguard.test/consul

go 1.18

// The last release whose parts are all published as modules; x/net and x/sys for today's linker.
require (
	github.com/hashicorp/consul v1.13.0
	golang.org/x/net v0.38.0
	golang.org/x/sys v0.31.0
)

replace launchpad.net/gocheck => github.com/go-check/check v0.0.0-20140225173054-eb6ee6f84d0a
