{{/* Labels: (list . "component"). Selectors use the first two and the release, as upstream's do. */}}
{{- define "hub.match" -}}
app: jupyterhub
component: {{ index . 1 }}
release: {{ (index . 0).Release.Name }}
{{- end }}
{{- define "binder.match" -}}
app: binder
component: binder
release: {{ .Release.Name }}
{{- end }}

{{/* extraEnv: a mapping of names to texts or to the rest of an env entry, or a list. */}}
{{- define "env" -}}
{{- if kindIs "slice" . }}
{{ toYaml . }}
{{- else }}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
- {{ merge (dict "name" $name) $value | toJson }}
{{- else }}
- {name: {{ $name | quote }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A probe: (list values path port). */}}
{{- define "probe" -}}
{{- $p := index . 0 -}}
httpGet: {path: {{ index . 1 }}, port: {{ index . 2 }}}
initialDelaySeconds: {{ $p.initialDelaySeconds }}
periodSeconds: {{ $p.periodSeconds }}
timeoutSeconds: {{ $p.timeoutSeconds }}
failureThreshold: {{ $p.failureThreshold }}
{{- end }}

{{/* imagePullSecrets: (list . image). */}}
{{- define "pullSecrets" -}}
{{- $hub := (index . 0).Values.jupyterhub -}}
{{- $names := concat ($hub.imagePullSecrets | default list) ((index . 1).pullSecrets | default list) -}}
{{- if and $hub.imagePullSecret.create $hub.imagePullSecret.automaticReferenceInjection -}}
{{- $names = append $names "image-pull-secret" -}}
{{- end -}}
{{- range $names }}
- {name: {{ . }}}
{{- end }}
{{- end }}

{{/* Egress of a NetworkPolicy, from its switches and its own rules: (list . networkPolicy). */}}
{{- define "egress" -}}
{{- $metadata := printf "%s/32" (index . 0).Values.jupyterhub.singleuser.cloudMetadata.ip -}}
{{- $private := list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" -}}
{{- $policy := index . 1 -}}
{{- $allow := $policy.egressAllowRules -}}
{{- if or $allow.dnsPortsCloudMetadataServer $allow.dnsPortsKubeSystemNamespace $allow.dnsPortsPrivateIPs }}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  to:
    {{- if $allow.dnsPortsCloudMetadataServer }}
    - ipBlock: {cidr: {{ $metadata }}}
    {{- end }}
    {{- if $allow.dnsPortsKubeSystemNamespace }}
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
    {{- end }}
    {{- if $allow.dnsPortsPrivateIPs }}
    {{- range $private }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
    {{- end }}
{{- end }}
{{- if $allow.nonPrivateIPs }}
- to:
    - ipBlock: {cidr: 0.0.0.0/0, except: {{ append $private $metadata | toJson }}}
{{- end }}
{{- if $allow.privateIPs }}
- to:
    {{- range $private }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
{{- end }}
{{- if $allow.cloudMetadataServer }}
- to:
    - ipBlock: {cidr: {{ $metadata }}}
{{- end }}
{{- with $policy.egress }}
{{ toYaml . }}
{{- end }}
{{- end }}
