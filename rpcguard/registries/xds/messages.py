"""The messages of xDS that are read and written: field numbers of envoyproxy/data-plane-api, v3."""

from __future__ import annotations

from typing import Final

from rpcguard._wire.protobuf import (
    BOOL,
    BYTES,
    ENUM,
    INT32,
    INT64,
    TEXT,
    UINT32,
    Message,
    Scalar,
    choice,
    keyed,
    many,
    one,
)
from rpcguard._wire.protobuf_types import ANY, BOOL_VALUE, DURATION, STRUCT, UINT32_VALUE

_TYPES: Final = "type.googleapis.com/envoy"
LISTENER_TYPE: Final = f"{_TYPES}.config.listener.v3.Listener"
ROUTE_TYPE: Final = f"{_TYPES}.config.route.v3.RouteConfiguration"
CLUSTER_TYPE: Final = f"{_TYPES}.config.cluster.v3.Cluster"
ENDPOINT_TYPE: Final = f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment"
WRAPPER_TYPE: Final = f"{_TYPES}.service.discovery.v3.Resource"

# Discovery

# envoy/config/core/v3/base.proto: Locality
_LOCALITY: Final = Message({1: one("region", TEXT), 2: one("zone", TEXT), 3: one("sub_zone", TEXT)})
# google/rpc/status.proto
_STATUS: Final = Message({1: one("code", INT32), 2: one("message", TEXT)})
# envoy/config/core/v3/base.proto: Node
_NODE: Final = Message(
    {
        1: one("id", TEXT),
        2: one("cluster", TEXT),
        3: one("metadata", STRUCT),
        4: one("locality", _LOCALITY),
        6: one("user_agent_name", TEXT),
        7: one("user_agent_version", TEXT),
        10: many("client_features", TEXT),
    }
)
# envoy/service/discovery/v3/discovery.proto: DiscoveryRequest
REQUEST: Final = Message(
    {
        1: one("version_info", TEXT),
        2: one("node", _NODE),
        3: many("resource_names", TEXT),
        4: one("type_url", TEXT),
        5: one("response_nonce", TEXT),
        6: one("error_detail", _STATUS),
    }
)
# the same: ResourceError
_RESOURCE_ERROR: Final = Message(
    {
        1: one("resource_name", Message({1: one("name", TEXT)})),
        2: one("error_detail", _STATUS),
    }
)
# the same: DiscoveryResponse
RESPONSE: Final = Message(
    {
        1: one("version_info", TEXT),
        2: many("resources", ANY),
        4: one("type_url", TEXT),
        5: one("nonce", TEXT),
        7: many("resource_errors", _RESOURCE_ERROR),
    }
)
# the same: Resource
WRAPPER: Final = Message({2: one("resource", ANY), 3: one("name", TEXT)})

# Endpoints

# envoy/config/core/v3/address.proto
_ADDRESS: Final = Message(
    {
        1: one(
            "socket_address",
            Message(
                {1: one("protocol", ENUM), 2: one("address", TEXT), 3: one("port_value", UINT32)}
            ),
        )
    }
)
# envoy/config/endpoint/v3/endpoint_components.proto
LB_ENDPOINT: Final = Message(
    {
        1: one("endpoint", Message({1: one("address", _ADDRESS), 3: one("hostname", TEXT)})),
        2: one("health_status", ENUM),
        3: one("metadata", Message({1: keyed("filter_metadata", STRUCT, empty={})})),
        4: one("load_balancing_weight", UINT32_VALUE),
    }
)


def _assignment(endpoint: Scalar | Message) -> Message:
    # envoy/config/endpoint/v3/endpoint_components.proto
    localities = Message(
        {
            1: one("locality", _LOCALITY),
            2: many("lb_endpoints", endpoint),
            3: one("load_balancing_weight", UINT32_VALUE),
            5: one("priority", UINT32),
        }
    )
    # envoy/config/endpoint/v3/endpoint.proto
    return Message({1: one("cluster_name", TEXT), 2: many("endpoints", localities)})


ASSIGNMENT: Final = _assignment(LB_ENDPOINT)
PACKED_ASSIGNMENT: Final = _assignment(BYTES)
"""The same with its endpoints as they came: most of them are known from the one before."""

# Clusters

EDS, LOGICAL_DNS, STRICT_DNS, STATIC, ORIGINAL_DST = 3, 2, 1, 0, 4
"""Types of clusters, `Cluster.DiscoveryType`."""

# envoy/config/cluster/v3/cluster.proto
CLUSTER: Final = Message(
    {
        1: one("name", TEXT),
        3: one("eds_cluster_config", Message({2: one("service_name", TEXT)})),
        33: one("load_assignment", ASSIGNMENT),
        **choice(
            {
                2: one("type", ENUM),
                38: one(
                    "cluster_type", Message({1: one("name", TEXT), 2: one("typed_config", ANY)})
                ),
            }
        ),
    }
)
# envoy/extensions/clusters/aggregate/v3/cluster.proto
AGGREGATE: Final = Message({1: many("clusters", TEXT)})

# Listeners and routes

# envoy/type/matcher/v3/regex.proto
_REGEX: Final = Message({2: one("regex", TEXT)})
# envoy/type/matcher/v3/string.proto
_STRING_MATCHER: Final = Message(
    {
        **choice(
            {
                1: one("exact", TEXT),
                2: one("prefix", TEXT),
                3: one("suffix", TEXT),
                5: one("safe_regex", _REGEX),
                7: one("contains", TEXT),
                8: one("custom", Message()),
            }
        ),
        6: one("ignore_case", BOOL),
    },
    strict=True,
)
# envoy/config/route/v3/route_components.proto, down to the virtual host
_HEADER_MATCHER: Final = Message(
    {
        1: one("name", TEXT),
        8: one("invert_match", BOOL),
        14: one("treat_missing_header_as_empty", BOOL),
        **choice(
            {
                4: one("exact_match", TEXT),
                6: one("range_match", Message({1: one("start", INT64), 2: one("end", INT64)})),
                7: one("present_match", BOOL),
                9: one("prefix_match", TEXT),
                10: one("suffix_match", TEXT),
                11: one("safe_regex_match", _REGEX),
                12: one("contains_match", TEXT),
                13: one("string_match", _STRING_MATCHER),
            }
        ),
    },
    strict=True,
)
# QueryParameterMatcher
_QUERY_MATCHER: Final = Message(
    {
        1: one("name", TEXT),
        **choice({5: one("string_match", _STRING_MATCHER), 6: one("present_match", BOOL)}),
    },
    strict=True,
)
# envoy/type/v3/percent.proto
_FRACTION: Final = Message({1: one("numerator", UINT32), 2: one("denominator", ENUM)})
# RouteMatch
_ROUTE_MATCH: Final = Message(
    {
        **choice(
            {
                1: one("prefix", TEXT),
                2: one("path", TEXT),
                10: one("safe_regex", _REGEX),
                12: one("connect_matcher", Message()),
                14: one("path_separated_prefix", TEXT),
                15: one("path_match_policy", Message()),
            }
        ),
        4: one("case_sensitive", BOOL_VALUE),
        6: many("headers", _HEADER_MATCHER),
        7: many("query_parameters", _QUERY_MATCHER),
        8: one("grpc", Message()),
        9: one("runtime_fraction", Message({1: one("default_value", _FRACTION)})),
        11: one("tls_context", Message()),
        13: many("dynamic_metadata", Message()),
        16: many("filter_state", Message()),
        17: many("cookies", Message()),
    },
    strict=True,
)
# WeightedCluster.ClusterWeight
_WEIGHTED: Final = Message(
    {
        1: one("name", TEXT),
        2: one("weight", UINT32_VALUE),
        3: one("metadata_match", Message()),
        12: one("cluster_header", TEXT),
    }
)
# RetryPolicy
_RETRY_POLICY: Final = Message(
    {
        1: one("retry_on", TEXT),
        2: one("num_retries", UINT32_VALUE),
        3: one("per_try_timeout", DURATION),
    }
)
# RouteAction
_ROUTE_ACTION: Final = Message(
    {
        **choice(
            {
                1: one("cluster", TEXT),
                2: one("cluster_header", TEXT),
                3: one("weighted_clusters", Message({1: many("clusters", _WEIGHTED)})),
                37: one("cluster_specifier_plugin", TEXT),
                39: one("inline_cluster_specifier_plugin", Message()),
            }
        ),
        4: one("metadata_match", Message()),
        5: one("prefix_rewrite", TEXT),
        8: one("timeout", DURATION),
        9: one("retry_policy", _RETRY_POLICY),
        32: one("regex_rewrite", Message()),
        36: one("max_stream_duration", Message({1: one("max_stream_duration", DURATION)})),
        41: one("path_rewrite_policy", Message()),
        45: one("path_rewrite", TEXT),
    }
)
# Route
_ROUTE: Final = Message(
    {
        1: one("match", _ROUTE_MATCH),
        14: one("name", TEXT),
        **choice(
            {
                2: one("route", _ROUTE_ACTION),
                3: one("redirect", Message()),
                7: one("direct_response", Message()),
                17: one("filter_action", Message()),
                18: one("non_forwarding_action", Message()),
            }
        ),
    }
)
# VirtualHost
_VIRTUAL_HOST: Final = Message(
    {
        1: one("name", TEXT),
        2: many("domains", TEXT),
        3: many("routes", _ROUTE),
        16: one("retry_policy", _RETRY_POLICY),
        21: one("matcher", Message()),
    }
)
# envoy/config/route/v3/route.proto
ROUTE_CONFIGURATION: Final = Message(
    {1: one("name", TEXT), 2: many("virtual_hosts", _VIRTUAL_HOST)}
)
# envoy/extensions/filters/network/http_connection_manager/v3
CONNECTION_MANAGER: Final = Message(
    {
        3: one("rds", Message({2: one("route_config_name", TEXT)})),
        4: one("route_config", ROUTE_CONFIGURATION),
    }
)
# envoy/config/listener/v3/listener.proto
LISTENER: Final = Message(
    {1: one("name", TEXT), 19: one("api_listener", Message({1: one("api_listener", ANY)}))}
)
NAMED: Final = Message({1: one("name", TEXT)})
"""The first field of each of the four kinds of resource is its name."""
