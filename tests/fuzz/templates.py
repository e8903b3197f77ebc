"""A good answer of every registry, from which the bad ones are made."""

from __future__ import annotations

from urllib.parse import quote

NODE = {
    "host": "10.0.0.1", "port": 8080, "id": "n1", "scheme": "http", "weight": 1.5, "status": "up",
    "zone": "a", "version": "v1", "metadata": {"k": "v"}, "started_at": 1_700_000_000.5,
    "generation": "g1", "priority": 0,
}  # fmt: skip
NODES = {"nodes": [NODE, {"host": "fd00::1", "port": 81}, {"host": "b.example", "port": 82}]}
SERVICES = {"services": {"Orders": NODES["nodes"], "billing": []}}

CONSUL = [
    {
        "Node": {
            "Node": f"m{number}", "Address": f"10.0.0.{number}", "Datacenter": "dc1",
            "Meta": {"zone": "z"}, "Locality": {"Zone": "z"},
        },
        "Service": {
            "ID": "orders-1", "Service": "orders", "Address": "", "Port": 8080, "Tags": ["a", "b"],
            "Meta": {"version": "1", "started_at": "1700000000", "secure": "true", "scheme": "h"},
            "Weights": {"Passing": 2, "Warning": 1}, "CreateIndex": 7, "Locality": {"Zone": "y"},
            "Ports": [{"name": "http", "port": 80, "default": True}],
        },
        "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"Status": "warning"}],
    }
    for number in (1, 2)
]  # fmt: skip

KRATOS = {
    "id": "a", "name": "orders", "version": "v1", "metadata": {"weight": "100", "zone": "z"},
    "endpoints": ["grpc://10.0.0.1:9000", "http://10.0.0.1:8000?isSecure=false"],
}  # fmt: skip
GRPC = {"Op": 0, "Addr": "10.0.0.1:8000", "Metadata": {"weight": 1, "version": "1"}}
ETCD_VALUES = (NODE, "10.0.0.1:8080", KRATOS, "https://[fd00::1]:443", GRPC)
VALUE = "VkFMVUU="
ETCD_LIST = {
    "header": {"revision": "7"}, "count": "2", "kvs": [
        {"key": "L21pY3Jvc2VydmljZXMvb3JkZXJzL24x", "value": VALUE, "create_revision": "5"},
        {"key": "L29yZGVycy9uMg==", "value": "MTAuMC4wLjI6ODA=", "create_revision": 6},
    ],
}  # fmt: skip
ETCD_EVENT = {
    "result": {"header": {"revision": "9"}, "events": [
        {"kv": {"key": "L29yZGVycy9uMw==", "value": VALUE, "create_revision": "9"}},
        {"type": "DELETE", "kv": {"key": "L29yZGVycy9uMg==", "mod_revision": "9"}},
    ]},
}  # fmt: skip


CURATOR = {
    "name": "orders", "id": "u", "address": "10.0.0.1", "port": 8080, "sslPort": None,
    "payload": {"@class": "x", "metadata": {
        "instance_status": "UP", "weight": "2", "zone": "z", "version": "1",
        "dubbo.endpoints": '[{"port":20880,"protocol":"dubbo"},{"port":8080,"protocol":"rest"}]',
        "timestamp": "1700000000000",
    }},
    "registrationTimeUTC": 1_700_000_000_000, "enabled": True,
}  # fmt: skip
DUBBO = (
    "rest://10.0.0.1:8080/org.Orders?timestamp=1700000000000&weight=100&group=g&version=1",
    "tri://[fd00::1]:50051/org.Orders?disabled=true&enabled=false&ssl-enabled=true&zone=z",
    "override://0.0.0.0/org.Orders?category=configurators&weight=200&enabled=true&application=*",
)
DUBBO_NAMES = [quote(url, safe="") for url in DUBBO]

NACOS_V3 = {
    "code": 0, "message": "success", "data": [
        {
            "ip": f"10.0.0.{number}", "port": 8080, "weight": 1.0, "healthy": True,
            "enabled": True, "clusterName": "DEFAULT", "serviceName": "orders",
            "metadata": {"zone": "z", "version": "1", "secure": "true", "timestamp": "1700000000"},
        }
        for number in (1, 2)
    ],
}  # fmt: skip
NACOS_V1 = {
    "name": "orders", "hosts": NACOS_V3["data"], "cacheMillis": 10000, "checksum": "",
    "reachProtectionThreshold": False, "clusters": "",
}  # fmt: skip
LOGIN = {"accessToken": "t", "tokenTtl": 18000}

EUREKA = {
    "application": {"name": "ORDERS", "instance": [
        {
            "instanceId": f"m{number}:orders:8080", "hostName": "m.example",
            "ipAddr": f"10.0.0.{number}", "status": "UP", "port": {"$": 8080, "@enabled": "true"},
            "securePort": {"$": 443, "@enabled": "false"}, "lastDirtyTimestamp": "1700000000000",
            "metadata": {"@class": "java", "zone": "z", "weight": "2", "version": "1"},
            "dataCenterInfo": {"name": "MyOwn", "metadata": {"availability-zone": "z"}},
        }
        for number in (1, 2)
    ]},
}  # fmt: skip

POLARIS = {
    "code": 200000, "info": "execute success", "type": "INSTANCE",
    "service": {"name": "orders", "namespace": "default", "revision": "r1"},
    "instances": [
        {
            "id": f"9c{number}", "host": f"10.0.0.{number}", "port": 8080, "protocol": "http",
            "version": "1", "weight": 100, "healthy": True, "isolate": False,
            "location": {"zone": "z"}, "metadata": {"timestamp": "1700000000000"},
            "ctime": "2026-11-21 19:00:00", "revision": "77",
        }
        for number in (1, 2)
    ],
}  # fmt: skip

SLICE = {
    "metadata": {"name": "orders-1", "resourceVersion": "12"}, "addressType": "IPv4",
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}],
    "endpoints": [
        {
            "addresses": [f"10.0.0.{number}"], "zone": "z", "nodeName": "m",
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "name": f"orders-{number}", "uid": f"u{number}"},
            "hints": {"forZones": [{"name": "z"}]},
        }
        for number in (1, 2)
    ],
}  # fmt: skip
SLICES = {"metadata": {"resourceVersion": "12"}, "items": [SLICE]}
SLICE_EVENT = {"type": "MODIFIED", "object": SLICE}

EDS = {
    "version_info": "1", "nonce": "n", "resources": [{
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "orders", "endpoints": [
            {
                "locality": {"region": "r", "zone": "z", "sub_zone": "s"}, "priority": number,
                "load_balancing_weight": 3, "lb_endpoints": [{
                    "endpoint": {
                        "address": {"socket_address": {
                            "protocol": "TCP", "address": f"10.0.0.{number}", "port_value": 80,
                        }},
                        "hostname": "h",
                    },
                    "health_status": "HEALTHY", "load_balancing_weight": 2,
                    "metadata": {"filter_metadata": {"envoy.lb": {"version": "1"}}},
                }],
            }
            for number in (0, 1)
        ],
    }],
}  # fmt: skip
