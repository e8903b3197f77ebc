"""Rules as the consoles and servers of others write them."""

from __future__ import annotations

TAG_RULE = """\
configVersion: v3.0
force: false
enabled: true
key: orders
tags:
- name: gray
  match:
  - key: env
    value:
      exact: gray
"""
"""A tag rule of Dubbo's admin console."""

CONDITION_RULE = """\
---
configVersion: v3.0
scope: application
force: false
runtime: true
enabled: true
key: orders
conditions:
- attachments[x-region]=hangzhou => region=hangzhou
...
"""
"""A condition rule in the form of Dubbo's documentation."""

POLARIS_RULE = {
    "name": "orders-gray",
    "namespace": "default",
    "enable": True,
    "routing_policy": "RulePolicy",
    "priority": 1,
    "description": "alice looks at the next version",
    "routing_config": {
        "@type": "type.googleapis.com/v1.RuleRoutingConfig",
        "rules": [
            {
                "name": "one",
                "sources": [
                    {
                        "service": "*",
                        "namespace": "*",
                        "arguments": [
                            {
                                "type": "HEADER",
                                "key": "x-user",
                                "value": {"type": "EXACT", "value": "alice", "value_type": "TEXT"},
                            }
                        ],
                    }
                ],
                "destinations": [
                    {
                        "service": "orders",
                        "namespace": "default",
                        "labels": {"env": {"type": "EXACT", "value": "gray", "value_type": "TEXT"}},
                        "priority": 0,
                        "weight": 100,
                        "isolate": False,
                        "name": "g",
                    }
                ],
            }
        ],
    },
}
"""A routing rule as Polaris' console posts it."""

POLARIS_INBOUND = {
    "sources": [
        {
            "service": "*",
            "namespace": "*",
            "metadata": {
                "$header.x-user": {"type": "EXACT", "value": "alice", "value_type": "TEXT"}
            },
        }
    ],
    "destinations": [
        {
            "service": "orders",
            "namespace": "default",
            "metadata": {"env": {"type": "EXACT", "value": "gray", "value_type": "TEXT"}},
            "priority": 0,
            "weight": 100,
            "transfer": "",
            "isolate": False,
            "name": "orders-gray.one.g",
        }
    ],
    "extendInfo": {},
}
"""The same as Polaris 1.18.1 gives it to callers."""
