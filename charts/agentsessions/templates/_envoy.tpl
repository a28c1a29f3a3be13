{{/* What Envoy sends as Host: the port only where it is not the scheme's own. */}}
{{- define "agentsessions.egress.authority" -}}
{{- $standard := ternary 443 80 .Values.egress.upstream.tls }}
{{- if eq (int .Values.egress.upstream.port) $standard }}
{{- .Values.egress.upstream.host }}
{{- else }}
{{- printf "%s:%d" .Values.egress.upstream.host (int .Values.egress.upstream.port) }}
{{- end }}
{{- end }}

{{/* The action for a request that may pass. */}}
{{- define "agentsessions.egress.forward" -}}
route:
  cluster: upstream
  host_rewrite_literal: {{ include "agentsessions.egress.authority" . | quote }}
  timeout: 0s
  idle_timeout: {{ .Values.egress.streamIdleTimeoutSeconds }}s
  # Only failures in which no byte of the request was processed: a model call is never paid for twice.
  retry_policy:
    retry_on: connect-failure,refused-stream,reset-before-request
    num_retries: 2
    retry_back_off: {base_interval: 0.2s, max_interval: 2s}
{{- end }}

{{/* One record per finished request: who, what, how long. Never a header that could hold a key, never a body. */}}
{{- define "agentsessions.egress.accessLog" -}}
name: stdout
typed_config:
  "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
  log_format:
    json_format:
      time: "%START_TIME%"
      session: "%REQ(X-CLAUDE-CODE-SESSION-ID):64%"
      source: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
      method: "%REQ(:METHOD)%"
      path: "%PATH(NQ:PATH):256%"
      status: "%RESPONSE_CODE%"
      flags: "%RESPONSE_FLAGS%"
      details: "%RESPONSE_CODE_DETAILS%"
      durationMs: "%DURATION%"
      bytesReceived: "%BYTES_RECEIVED%"
      bytesSent: "%BYTES_SENT%"
      upstream: "%UPSTREAM_HOST%"
      upstreamRequestId: "%RESP(REQUEST-ID):64%"
{{- end }}

{{/* Errors that Envoy itself gives, in the form of the Messages API, so that clients can read them. */}}
{{- define "agentsessions.egress.localReply" -}}
mappers:
  - filter:
      status_code_filter:
        comparison: {op: EQ, value: {default_value: 403, runtime_key: none}}
    body_format_override:
      json_format: {type: error, error: {type: permission_error, message: "%LOCAL_REPLY_BODY%"}}
body_format:
  json_format: {type: error, error: {type: api_error, message: "egress: %LOCAL_REPLY_BODY%"}}
{{- end }}

{{- define "agentsessions.egress.filters" -}}
# Whatever the agent says about its identity stays here; the injector below then finds a clean request.
- name: strip-credentials
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
    mutations:
      request_mutations:
        {{- range list "x-api-key" "authorization" "proxy-authorization" "cookie" .Values.egress.credential.header | uniq }}
        - remove: {{ . | lower | quote }}
        {{- end }}
- name: inject-credential
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
    overwrite: true
    credential:
      name: generic
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic
        header: {{ .Values.egress.credential.header | lower | quote }}
        {{- with .Values.egress.credential.valuePrefix }}
        header_value_prefix: {{ . | quote }}
        {{- end }}
        credential:
          name: model-key
          sds_config:
            path_config_source: {path: /etc/envoy/credential.yaml}
- name: router
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
    suppress_envoy_headers: true
{{- end }}

{{- define "agentsessions.egress.routes" -}}
{{- range .Values.egress.allowedPaths }}
- match: {path: {{ . | quote }}}
  {{- include "agentsessions.egress.forward" $ | nindent 2 }}
{{- else }}
- match: {prefix: /}
  {{- include "agentsessions.egress.forward" $ | nindent 2 }}
{{- end }}
{{- if .Values.egress.allowedPaths }}
- match: {prefix: /}
  direct_response:
    status: 403
    body: {inline_string: "this path is not among egress.allowedPaths of the agentsessions chart"}
{{- end }}
{{- end }}

{{/* Agents come in here. */}}
{{- define "agentsessions.egress.agentListener" -}}
name: agents
address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
per_connection_buffer_limit_bytes: 1048576
filter_chains:
  - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: agents
          # The caller is a pod that may run anything: its x-envoy and x-forwarded headers count for nothing.
          use_remote_address: true
          internal_address_config: {}
          skip_xff_append: true
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          server_header_transformation: PASS_THROUGH
          request_headers_timeout: 10s
          stream_idle_timeout: {{ .Values.egress.streamIdleTimeoutSeconds }}s
          common_http_protocol_options: {idle_timeout: 3600s, headers_with_underscores_action: REJECT_REQUEST}
          access_log:
            - {{- include "agentsessions.egress.accessLog" . | nindent 14 }}
          local_reply_config: {{- include "agentsessions.egress.localReply" . | nindent 12 }}
          http_filters: {{- include "agentsessions.egress.filters" . | nindent 12 }}
          route_config:
            name: model
            virtual_hosts:
              - name: model
                domains: ["*"]
                request_headers_to_remove: [x-forwarded-for, x-forwarded-proto, x-envoy-external-address, x-request-id, x-real-ip, forwarded]
                routes: {{- include "agentsessions.egress.routes" . | nindent 18 }}
{{- end }}

{{/* Kubelet and Prometheus come in here: two read-only paths of the admin interface, which itself has no port. */}}
{{- define "agentsessions.egress.statusListener" -}}
name: status
address: {socket_address: {address: 0.0.0.0, port_value: 8081}}
filter_chains:
  - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: status
          http_filters:
            - name: router
              typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
              - name: status
                domains: ["*"]
                routes:
                  - match: {path: /ready, headers: [{name: ":method", string_match: {exact: GET}}]}
                    route: {cluster: admin}
                  - match: {path: /metrics, headers: [{name: ":method", string_match: {exact: GET}}]}
                    route: {cluster: admin, prefix_rewrite: /stats/prometheus}
{{- end }}

{{- define "agentsessions.egress.tls" -}}
transport_socket:
  name: tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: {{ .Values.egress.upstream.host | quote }}
    common_tls_context:
      tls_params: {tls_minimum_protocol_version: TLSv1_2}
      validation_context:
        trusted_ca:
          filename: {{ ternary "/etc/envoy-ca/ca.crt" .Values.egress.upstream.caFile (ne .Values.egress.upstream.caConfigMap.name "") | quote }}
        match_typed_subject_alt_names:
          - {san_type: DNS, matcher: {exact: {{ .Values.egress.upstream.host | quote }}}}
{{- end }}

{{- define "agentsessions.egress.upstreamCluster" -}}
name: upstream
type: LOGICAL_DNS
dns_lookup_family: V4_PREFERRED
connect_timeout: 10s
# The defaults of 1024 are a ceiling on open streams; every agent holds one.
circuit_breakers:
  thresholds:
    - {max_connections: 20000, max_pending_requests: 20000, max_requests: 20000, max_retries: 100}
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    common_http_protocol_options: {idle_timeout: 60s}
    {{- if .Values.egress.upstream.tls }}
    auto_config: {}
    {{- else }}
    explicit_http_config: {http_protocol_options: {}}
    {{- end }}
load_assignment:
  cluster_name: upstream
  endpoints:
    - lb_endpoints:
        - endpoint:
            address:
              socket_address: {address: {{ .Values.egress.upstream.host | quote }}, port_value: {{ .Values.egress.upstream.port }}}
{{- if .Values.egress.upstream.tls }}
{{ include "agentsessions.egress.tls" . }}
{{- end }}
{{- end }}

{{/* The whole bootstrap. The admin interface is a socket file: nothing outside the container can reach it. */}}
{{- define "agentsessions.egress.envoy" -}}
node: {id: egress, cluster: agentsessions-egress}
admin: {address: {pipe: {path: /tmp/envoy-admin.sock}}}
overload_manager:
  resource_monitors:
    - name: envoy.resource_monitors.global_downstream_max_connections
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
        max_active_downstream_connections: 20000
static_resources:
  listeners:
    - {{- include "agentsessions.egress.agentListener" . | nindent 6 }}
    - {{- include "agentsessions.egress.statusListener" . | nindent 6 }}
  clusters:
    - {{- include "agentsessions.egress.upstreamCluster" . | nindent 6 }}
    - name: admin
      type: STATIC
      load_assignment:
        cluster_name: admin
        endpoints:
          - lb_endpoints: [{endpoint: {address: {pipe: {path: /tmp/envoy-admin.sock}}}}]
{{- end }}

{{/* The secret by file: Envoy reads it again whenever the kubelet swaps the directory. */}}
{{- define "agentsessions.egress.credentialFile" -}}
resources:
  - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
    name: model-key
    generic_secret:
      secret:
        filename: /var/run/agentsessions/credential/api-key
        watched_directory: {path: /var/run/agentsessions/credential}
{{- end }}
