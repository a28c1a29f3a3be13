{{/* The egress proxy of this release as a template block's modelEndpoint. */}}
{{- define "agentsessions.egressEndpoint" -}}
baseUrl: http://{{ include "agentsessions.egressName" . }}.{{ .Release.Namespace }}.svc:8080
egress:
  - namespace: {{ .Release.Namespace }}
    podLabels: {{- include "agentsessions.selectorLabels" (dict "root" . "component" "egress") | nindent 6 }}
    port: 8080
{{- end }}

{{- define "agentsessions.config" -}}
{{- if and .Values.admission.tenants (not .Values.admission.tenantLabel) }}
{{- fail "admission.tenants needs admission.tenantLabel: the label of namespaces whose value is the tenant's name" }}
{{- end }}
{{- $defaults := deepCopy .Values.defaults }}
{{- if not $defaults.image }}
{{- $_ := set $defaults "image" (include "agentsessions.image" (dict "root" . "image" .Values.agentImage)) }}
{{- end }}
{{- if and .Values.egress.enabled (not $defaults.modelEndpoint) }}
{{- $_ := set $defaults "modelEndpoint" (include "agentsessions.egressEndpoint" . | fromYaml) }}
{{- end }}
{{- $gateway := dict "enabled" .Values.gateway.enabled "namespace" .Release.Namespace "url" .Values.gateway.url
  "podLabels" (include "agentsessions.selectorLabels" (dict "root" . "component" "gateway") | fromYaml)
  "operatorLabels" (include "agentsessions.selectorLabels" (dict "root" . "component" "operator") | fromYaml) }}
{{- /* With one replica too: a second may come, or an old one be about to go. Nobody stands by then who would have to wait. */}}
{{- $times := ternary .Values.leaderElection (dict "leaseSeconds" 15 "renewSeconds" 10 "retrySeconds" 2) (gt (int .Values.replicas) 1) }}
{{- $lease := merge (dict "enabled" true "namespace" .Release.Namespace "name" (include "agentsessions.fullname" .)) $times }}
{{- $key := dict "namespace" .Release.Namespace "name" (include "agentsessions.signingKeyName" .) }}
{{- $store := include "agentsessions.embeddedStoreConfig" . | fromYaml }}
{{- dict "gateway" $gateway "signingKey" $key "embeddedStore" $store "leaderElection" $lease "defaults" $defaults "dns" .Values.dns "watchNamespaces" .Values.watchNamespaces "logLevel" .Values.logLevel "concurrency" .Values.concurrency "retryBackoff" .Values.retryBackoff "kubernetesApi" .Values.kubernetesApi "admission" .Values.admission "rollout" .Values.rollout "nodeLossSeconds" (int .Values.nodeLossSeconds) | toYaml }}
{{- end }}
