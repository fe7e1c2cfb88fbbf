"""The node's own measurements, and who is told what: rules, configurations, dashboards, all of them pure."""
