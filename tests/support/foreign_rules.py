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

POLARIS_LANES = {
    "id": "e4dd3e0bb06c493c80fdf97fab226719",
    "name": "release-2",
    "entries": [
        {
            "type": "polarismesh.cn/service",
            "selector": {
                "@type": "type.googleapis.com/v1.ServiceSelector",
                "namespace": "default",
                "service": "web",
                "labels": {},
            },
        }
    ],
    "destinations": [
        {
            "service": "orders",
            "namespace": "default",
            "labels": {},
            "priority": 0,
            "weight": 0,
            "transfer": "",
            "isolate": False,
            "name": "",
        }
    ],
    "revision": "08205f732b5c488c934eb37a8ebbac80",
    "description": "",
    "ctime": "2026-11-26 20:45:29",
    "mtime": "2026-11-26 20:45:30",
    "rules": [
        {
            "id": "9be1",
            "name": "testers",
            "group_name": "release-2",
            "traffic_match_rule": {
                "arguments": [
                    {
                        "type": "HEADER",
                        "key": "x-user",
                        "value": {"type": "EXACT", "value": "alice", "value_type": "TEXT"},
                    }
                ],
                "match_mode": "AND",
            },
            "default_label_value": "gray",
            "enable": True,
            "match_mode": "PERMISSIVE",
            "revision": "b1",
            "ctime": "2026-11-26 20:45:29",
            "mtime": "2026-11-26 20:45:30",
            "etime": "2026-11-26 20:45:30",
            "priority": 1,
            "description": "",
        }
    ],
    "metadata": {},
    "editable": False,
    "deleteable": False,
}
"""A lane group: the group as Polaris' server (source of June 2025) writes one, the rule by its
specification, for no server that is published gives any."""
