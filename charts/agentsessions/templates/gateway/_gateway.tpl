{{- define "agentsessions.gatewayName" -}}
{{- printf "%s-gateway" (include "agentsessions.fullname" .) }}
{{- end }}

{{- define "agentsessions.signingKeyName" -}}
{{- printf "%s-signing-key" (include "agentsessions.fullname" .) }}
{{- end }}

{{/* What the directory is told. */}}
{{- define "agentsessions.gateway.directory" -}}
watchNamespaces: {{ toJson .Values.watchNamespaces }}
logLevel: {{ .Values.logLevel }}
audiences: {{ toJson .Values.gateway.audiences }}
holdSeconds: {{ .Values.gateway.holdSeconds }}
maxHeld: {{ .Values.gateway.maxHeldRequests }}
maxHeldPerSession: {{ .Values.gateway.maxHeldRequestsPerSession }}
reviewCacheSeconds: {{ .Values.gateway.reviewCacheSeconds }}
cookbook: {{ toJson .Values.gateway.cookbook }}
oidc: {{ toJson (pick .Values.gateway.oidc "enabled" "usernameClaim" "usernamePrefix" "groupsClaim" "groupsPrefix") }}
{{- end }}

{{/* Headers that only we may set. They go before anything looks at the request. */}}
{{- define "agentsessions.gateway.internalHeaders" -}}
{{- list "x-agentsessions-token" "x-agentsessions-session" "x-agentsessions-prefix" "x-agentsessions-jwt-payload" "x-dst" "x-envoy-original-dst-host" "x-envoy-original-path" "x-envoy-retry-on" "x-envoy-max-retries" "x-envoy-upstream-rq-timeout-ms" "x-envoy-upstream-alt-stat-name" "x-forwarded-client-cert" | toJson }}
{{- end }}

{{- define "agentsessions.gateway.accessLog" -}}
name: stdout
typed_config:
  "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
  log_format:
    json_format:
      time: "%START_TIME%"
      session: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:x-agentsessions-session)%"
      source: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
      method: "%REQ(:METHOD)%"
      path: "%PATH(NQ:ORIG_OR_PATH):256%"
      status: "%RESPONSE_CODE%"
      flags: "%RESPONSE_FLAGS%"
      details: "%RESPONSE_CODE_DETAILS%"
      durationMs: "%DURATION%"
      bytesReceived: "%BYTES_RECEIVED%"
      bytesSent: "%BYTES_SENT%"
      upstream: "%UPSTREAM_HOST%"
{{- end }}

{{- define "agentsessions.gateway.problem" -}}
content_type: application/problem+json
json_format:
  type: {{ printf "https://agentsessions.dev/problems/%s" .slug }}
  title: {{ .title }}
  status: "%RESPONSE_CODE%"
  detail: "%RESPONSE_CODE_DETAILS%"
{{- end }}

{{/* Errors that Envoy itself gives, in the form of the directory's and the hosts' own; what the directory says stays. */}}
{{- define "agentsessions.gateway.localReply" -}}
mappers:
  # Envoy takes a 5xx of the directory for its failure and drops what it says; so "later" comes as 425 and leaves as 503.
  - filter:
      and_filter:
        filters:
          - response_flag_filter: {flags: [UAEX]}
          - status_code_filter:
              comparison: {op: EQ, value: {default_value: 425, runtime_key: none}}
    status_code: 503
  - filter:
      and_filter:
        filters:
          - response_flag_filter: {flags: [UAEX]}
          - status_code_filter:
              comparison: {op: EQ, value: {default_value: 503, runtime_key: none}}
    body_format_override: {{- include "agentsessions.gateway.problem" (dict "slug" "directory-unavailable" "title" "The gateway cannot decide at the moment") | nindent 6 }}
    headers_to_add:
      - header: {key: retry-after, value: "1"}
        append_action: OVERWRITE_IF_EXISTS_OR_ADD
  - filter:
      response_flag_filter: {flags: [UH, UF, UO, UC, UT, UR, URX, NR, NC, LR, DPE, UPE, UMSDR, SI, OM]}
    body_format_override: {{- include "agentsessions.gateway.problem" (dict "slug" "gateway" "title" "The gateway could not pass the request on") | nindent 6 }}
    headers_to_add:
      - header: {key: retry-after, value: "1"}
        append_action: OVERWRITE_IF_EXISTS_OR_ADD
{{- end }}

{{- define "agentsessions.gateway.jwks" -}}
{{- $url := urlParse .Values.gateway.oidc.jwksUri }}
{{- $tls := eq $url.scheme "https" }}
{{- $parts := splitList ":" $url.host }}
{{- dict "host" (first $parts) "port" (ternary (last $parts) (ternary "443" "80" $tls) (gt (len $parts) 1)) "tls" $tls | toJson }}
{{- end }}

{{- define "agentsessions.gateway.filters" -}}
{{- if .Values.gateway.oidc.enabled }}
- name: oidc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
    providers:
      oidc:
        # Nowhere else: a token in the query would reach the agent.
        from_headers: [{name: Authorization, value_prefix: "Bearer "}]
        issuer: {{ required "gateway.oidc.issuer must be set when gateway.oidc.enabled is true" .Values.gateway.oidc.issuer | quote }}
        {{- with .Values.gateway.oidc.audiences }}
        audiences: {{ toJson . }}
        {{- end }}
        remote_jwks:
          http_uri: {uri: {{ required "gateway.oidc.jwksUri must be set when gateway.oidc.enabled is true" .Values.gateway.oidc.jwksUri | quote }}, cluster: jwks, timeout: 5s}
          cache_duration: 300s
        forward: true
        forward_payload_header: x-agentsessions-jwt-payload
    rules:
      - match: {prefix: /}
        # A token that is no OIDC token may still be one of Kubernetes: the directory decides.
        requires:
          requires_any:
            requirements:
              - provider_name: oidc
              - allow_missing_or_failed: {}
{{- end }}
- name: envoy.filters.http.ext_authz
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
    transport_api_version: V3
    clear_route_cache: false
    failure_mode_allow: false
    status_on_error: {code: ServiceUnavailable}
    http_service:
      path_prefix: /check
      server_uri: {uri: "http://127.0.0.1:{{ .Values.gateway.directory.port }}", cluster: directory, timeout: {{ add .Values.gateway.holdSeconds 10 }}s}
      authorization_response:
        allowed_upstream_headers:
          patterns:
            - {exact: x-agentsessions-token}
            - {exact: x-agentsessions-prefix}
            - {exact: sec-websocket-protocol}
        dynamic_metadata_from_headers:
          patterns:
            - {exact: x-dst}
            - {exact: x-agentsessions-session}
        allowed_client_headers:
          patterns:
            - {exact: content-type}
            - {exact: retry-after}
            - {exact: www-authenticate}
    allowed_headers:
      patterns:
        - {exact: authorization}
        - {exact: sec-websocket-protocol}
        - {exact: x-agentsessions-pool}
        - {exact: x-agentsessions-progress}
        - {exact: x-agentsessions-jwt-payload}
# Who the caller is has been settled; the agent has no business with the proof.
- name: strip-credentials
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
    mutations:
      request_mutations:
        - remove: authorization
        - remove: proxy-authorization
        - remove: x-agentsessions-jwt-payload
        - remove: x-agentsessions-pool
        - remove: x-agentsessions-progress
- name: router
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
    suppress_envoy_headers: true
{{- end }}

{{/* Where a request goes on, once it is allowed: the place is in metadata that no client can write. */}}
{{- define "agentsessions.gateway.forward" -}}
cluster: hosts
timeout: 0s
idle_timeout: {{ .Values.gateway.streamIdleTimeoutSeconds }}s
# Only failures in which nothing was sent: a message is never run twice.
retry_policy:
  retry_on: connect-failure
  num_retries: 5
  retry_back_off: {base_interval: 0.2s, max_interval: 2s}
{{- end }}

{{- define "agentsessions.gateway.routes" -}}
- match: {path: /health, headers: [{name: ":method", string_match: {exact: GET}}]}
  direct_response: {status: 200, body: {inline_string: '{"status":"ok"}'}}
  response_headers_to_add:
    - header: {key: content-type, value: application/json}
      append_action: OVERWRITE_IF_EXISTS_OR_ADD
  typed_per_filter_config:
    envoy.filters.http.ext_authz:
      "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
      disabled: true
{{- range list "/v1/namespaces/[^/]+/sessions/[^/]+" "/v1/namespaces/[^/]+/pools/[^/]+/sessions/[^/]+" "/sessions/[^/]+" }}
- match:
    safe_regex: {regex: {{ printf "%s/ports/[0-9]+(/.*)?" . | quote }}}
  route:
    {{- include "agentsessions.gateway.forward" $ | nindent 4 }}
    regex_rewrite:
      pattern: {regex: {{ printf "^%s/ports/([0-9]+)/?(.*)$" . | quote }}}
      substitution: '/sessions/-/ports/\1/\2'
- match:
    safe_regex: {regex: {{ printf "%s(/[a-z]+)?" . | quote }}}
  request_headers_to_remove: [cookie]
  route:
    {{- include "agentsessions.gateway.forward" $ | nindent 4 }}
    regex_rewrite:
      pattern: {regex: {{ printf "^%s(/[a-z]+)?$" . | quote }}}
      substitution: '/sessions/-\1'
{{- end }}
- match: {prefix: /}
  # Nothing of ours; the directory says so, in its own words.
  route: {{- include "agentsessions.gateway.forward" . | nindent 4 }}
{{- end }}

{{- define "agentsessions.gateway.listener" -}}
name: clients
address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
per_connection_buffer_limit_bytes: 1048576
socket_options:
  - {description: keepalive, level: 1, name: 9, int_value: 1, state: STATE_PREBIND}
filter_chains:
  - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: AUTO
          use_remote_address: true
          internal_address_config: {}
          xff_num_trusted_hops: {{ .Values.gateway.trustedHops }}
          # Paths stay as they were sent, so that route, directory and host judge the same one; odd ones are refused.
          normalize_path: false
          merge_slashes: false
          path_with_escaped_slashes_action: REJECT_REQUEST
          strip_matching_host_port: true
          server_header_transformation: PASS_THROUGH
          request_headers_timeout: 10s
          stream_idle_timeout: {{ .Values.gateway.streamIdleTimeoutSeconds }}s
          common_http_protocol_options: {idle_timeout: 3600s, headers_with_underscores_action: REJECT_REQUEST}
          upgrade_configs:
            - {upgrade_type: websocket}
          early_header_mutation_extensions:
            - name: internal-headers
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
                mutations:
                  {{- range include "agentsessions.gateway.internalHeaders" . | fromJsonArray }}
                  - remove: {{ . }}
                  {{- end }}
          access_log:
            - {{- include "agentsessions.gateway.accessLog" . | nindent 14 }}
          local_reply_config: {{- include "agentsessions.gateway.localReply" . | nindent 12 }}
          http_filters: {{- include "agentsessions.gateway.filters" . | nindent 12 }}
          route_config:
            name: sessions
            virtual_hosts:
              - name: sessions
                domains: ["*"]
                response_headers_to_remove: [server, x-powered-by]
                routes: {{- include "agentsessions.gateway.routes" . | nindent 18 }}
    {{- if .Values.gateway.tls.secretName }}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
        common_tls_context:
          alpn_protocols: [h2, http/1.1]
          tls_params: {tls_minimum_protocol_version: TLSv1_2}
          tls_certificates:
            - certificate_chain: {filename: /etc/envoy-tls/tls.crt}
              private_key: {filename: /etc/envoy-tls/tls.key}
              watched_directory: {path: /etc/envoy-tls}
    {{- end }}
{{- end }}

{{/* Every held request and every stream counts against these; the defaults of 1024 would be a ceiling. */}}
{{- define "agentsessions.gateway.breakers" -}}
circuit_breakers:
  thresholds:
    - {max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 1000}
{{- end }}

{{- define "agentsessions.gateway.envoy" -}}
node: {id: gateway, cluster: agentsessions-gateway}
admin: {address: {pipe: {path: /tmp/envoy-admin.sock}}}
overload_manager:
  resource_monitors:
    - name: envoy.resource_monitors.global_downstream_max_connections
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
        max_active_downstream_connections: {{ .Values.gateway.maxConnections }}
static_resources:
  listeners:
    - {{- include "agentsessions.gateway.listener" . | nindent 6 }}
    - {{- include "agentsessions.egress.statusListener" . | nindent 6 }}
  clusters:
    - name: hosts
      type: ORIGINAL_DST
      lb_policy: CLUSTER_PROVIDED
      connect_timeout: 3s
      cleanup_interval: 60s
      {{- include "agentsessions.gateway.breakers" . | nindent 6 }}
      # A pod that was lost with its node says nothing any more: a stream from it ends, and a request to it fails, in
      # 25 seconds. Keepalive is for the silent connection, TCP_USER_TIMEOUT (Linux, ms) for what nobody acknowledges.
      upstream_connection_options: {tcp_keepalive: {keepalive_probes: 3, keepalive_time: 10, keepalive_interval: 5}}
      upstream_bind_config:
        socket_options:
          - {description: user timeout, level: 6, name: 18, int_value: 25000, state: STATE_PREBIND}
      original_dst_lb_config:
        metadata_key:
          key: envoy.filters.http.ext_authz
          path: [{key: x-dst}]
    - name: directory
      type: STATIC
      connect_timeout: 1s
      {{- include "agentsessions.gateway.breakers" . | nindent 6 }}
      load_assignment:
        cluster_name: directory
        endpoints:
          - lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{ .Values.gateway.directory.port }}}}}}]
    - name: admin
      type: STATIC
      load_assignment:
        cluster_name: admin
        endpoints:
          - lb_endpoints: [{endpoint: {address: {pipe: {path: /tmp/envoy-admin.sock}}}}]
    {{- if .Values.gateway.oidc.enabled }}
    {{- $jwks := include "agentsessions.gateway.jwks" . | fromJson }}
    - name: jwks
      type: LOGICAL_DNS
      dns_lookup_family: V4_PREFERRED
      connect_timeout: 5s
      load_assignment:
        cluster_name: jwks
        endpoints:
          - lb_endpoints: [{endpoint: {address: {socket_address: {address: {{ $jwks.host | quote }}, port_value: {{ $jwks.port }}}}}}]
      {{- if $jwks.tls }}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: {{ $jwks.host | quote }}
          common_tls_context:
            validation_context:
              trusted_ca: {filename: {{ .Values.gateway.oidc.caFile | quote }}}
              match_typed_subject_alt_names:
                - {san_type: DNS, matcher: {exact: {{ $jwks.host | quote }}}}
      {{- end }}
    {{- end }}
{{- end }}
