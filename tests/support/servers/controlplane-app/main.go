// A control plane of go-control-plane's own parts: resources come over HTTP as JSON, and go out by
// ADS. It records what it was asked, so that tests see acknowledgements and refusals.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

var (
	grpcAddress = flag.String("grpc", "127.0.0.1:18000", "where ADS is served")
	httpAddress = flag.String("http", "127.0.0.1:18001", "where resources are set")
	token       = flag.String("token", "", "the bearer token that is wanted")
	cert        = flag.String("cert", "", "certificate of the server")
	key         = flag.String("key", "", "its key")
	clientCA    = flag.String("client-ca", "", "who must have signed the certificate of a client")
	age         = flag.Duration("age", 0, "age at which a connection is ended")

	lock     sync.Mutex
	requests []json.RawMessage
	caches   = map[string]*cache.LinearCache{}
)

func main() {
	flag.Parse()
	all := map[string]cache.Cache{}
	for _, kind := range []string{
		resource.ListenerType, resource.RouteType, resource.ClusterType, resource.EndpointType,
	} {
		caches[kind] = cache.NewLinearCache(kind)
		all[kind] = caches[kind]
	}
	mux := &cache.MuxCache{
		Classify:      func(request *cache.Request) string { return request.GetTypeUrl() },
		ClassifyDelta: func(request *cache.DeltaRequest) string { return request.GetTypeUrl() },
		Caches:        all,
	}
	control := server.NewServer(context.Background(), mux, server.CallbackFuncs{StreamRequestFunc: record})
	serving := grpc.NewServer(options()...)
	discovery.RegisterAggregatedDiscoveryServiceServer(serving, control)
	listener, err := net.Listen("tcp", *grpcAddress)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(serving.Serve(listener)) }()
	http.HandleFunc("POST /resources", update)
	http.HandleFunc("GET /requests", asked)
	log.Fatal(http.ListenAndServe(*httpAddress, nil))
}

func options() []grpc.ServerOption {
	given := []grpc.ServerOption{grpc.StreamInterceptor(authenticated), grpc.MaxRecvMsgSize(1 << 26)}
	if *age > 0 {
		limits := keepalive.ServerParameters{MaxConnectionAge: *age, MaxConnectionAgeGrace: time.Second}
		given = append(given, grpc.KeepaliveParams(limits))
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		config := &tls.Config{Certificates: []tls.Certificate{pair}}
		if *clientCA != "" {
			pem, err := os.ReadFile(*clientCA)
			if err != nil {
				log.Fatal(err)
			}
			config.ClientCAs = x509.NewCertPool()
			config.ClientCAs.AppendCertsFromPEM(pem)
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		given = append(given, grpc.Creds(credentials.NewTLS(config)))
	}
	return given
}

func authenticated(
	service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
) error {
	if *token != "" {
		told, _ := metadata.FromIncomingContext(stream.Context())
		if values := told.Get("authorization"); len(values) != 1 || values[0] != "Bearer "+*token {
			return status.Error(codes.Unauthenticated, "the token is not right")
		}
	}
	return handle(service, stream)
}

func record(_ int64, request *discovery.DiscoveryRequest) error {
	text, err := protojson.Marshal(request)
	if err != nil {
		return err
	}
	lock.Lock()
	defer lock.Unlock()
	requests = append(requests, text)
	return nil
}

func asked(answer http.ResponseWriter, _ *http.Request) {
	lock.Lock()
	defer lock.Unlock()
	_ = json.NewEncoder(answer).Encode(requests)
}

// update takes {"set": [{"@type": ..., ...}], "drop": {TYPE: [NAME]}}: all of a type at once.
func update(answer http.ResponseWriter, request *http.Request) {
	if err := apply(request.Body); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
	}
}

func apply(body io.Reader) error {
	var given struct {
		Set  []json.RawMessage
		Drop map[string][]string
	}
	if err := json.NewDecoder(body).Decode(&given); err != nil {
		return err
	}
	set := map[string]map[string]types.Resource{}
	for _, text := range given.Set {
		packed := &anypb.Any{}
		if err := protojson.Unmarshal(text, packed); err != nil {
			return err
		}
		found, err := packed.UnmarshalNew()
		if err != nil {
			return err
		}
		if set[packed.TypeUrl] == nil {
			set[packed.TypeUrl] = map[string]types.Resource{}
		}
		set[packed.TypeUrl][cache.GetResourceName(found)] = found
	}
	for _, kind := range []string{
		resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType,
	} {
		if len(set[kind]) > 0 || len(given.Drop[kind]) > 0 {
			if err := caches[kind].UpdateResources(set[kind], given.Drop[kind]); err != nil {
				return err
			}
		}
	}
	return nil
}
