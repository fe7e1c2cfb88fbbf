"""Which names of whose metrics are kept: those that rules and dashboards use, where a source tells thousands. Pure."""

from __future__ import annotations

# What K3s's one process tells at the kubelet's port is all of Kubernetes: of that, this.
KUBELET = (
    "kubelet_running_pods",
    "kubelet_runtime_operations_errors_total",
    "kubelet_evictions",
    "kubelet_image_garbage_collected_total",
)
# Of the hub's, proxy's and BinderHub's containers alone: a series for each user's pod is a series for each launch.
CADVISOR = ("container_memory_working_set_bytes", "container_cpu_usage_seconds_total")
CORE_PODS = "(hub|proxy|binder)-.*"
# Counters that have a repository for a label grow without an end.
BY_REPOSITORY = "binderhub_(build|launch)_count(_total|_created)?"
# The library's own, of every Python and Go program.
LIBRARY = "(go|python|process|promhttp|scrape_samples|net_conntrack)_.*|.*_created"
# The hub's histogram of requests has a series for each handler, method, code and bucket.
HUB = (
    "jupyterhub_running_servers",
    "jupyterhub_total_users",
    "jupyterhub_server_spawn_duration_seconds_.*",
    "jupyterhub_event_loop_interval_seconds_.*",
    "jupyterhub_proxy_poll_duration_seconds_.*",
)
# Likewise, a label for each API.
MINIO = (
    "minio_cluster_.*",
    "minio_s3_requests_total",
    "minio_s3_requests_5xx_errors_total",
    "minio_s3_requests_inflight_total",
    "minio_s3_traffic_.*",
)
REGISTRY = ("registry_http_requests_total", "registry_http_in_flight_requests", "registry_storage_action_seconds_.*")
