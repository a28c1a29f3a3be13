{{- define "agentsessions.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" }}
{{- end }}

{{/* The prefix of all names; 48 leaves room for suffixes within the 63 characters of a label or Service name. */}}
{{- define "agentsessions.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else if contains (include "agentsessions.name" .) .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "agentsessions.name" .) | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Names of cluster-scoped objects carry the namespace, so that two releases of one name do not meet. */}}
{{- define "agentsessions.clusterName" -}}
{{- printf "%s.%s" (include "agentsessions.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "agentsessions.egressName" -}}
{{- printf "%s-egress" (include "agentsessions.fullname" .) }}
{{- end }}

{{- define "agentsessions.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "agentsessions.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name must name an existing account when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Takes (dict "root" $ "component" "operator"). Stable for the life of a Deployment: no version in here. */}}
{{- define "agentsessions.selectorLabels" -}}
app.kubernetes.io/name: {{ include "agentsessions.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Takes (dict "root" $ "component" "operator"). */}}
{{- define "agentsessions.labels" -}}
{{- $own := include "agentsessions.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/part-of" "agentsessions" }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_")) }}
{{- toYaml (merge $own .root.Values.commonLabels) }}
{{- end }}

{{/* Takes (dict "root" $ "image" .Values.image). */}}
{{- define "agentsessions.image" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .image.repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) }}
{{- end }}
{{- end }}

{{- define "agentsessions.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "agentsessions.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "agentsessions.dnsEgressRule" -}}
to:
  - namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: {{ .Values.dns.namespace }}
    podSelector:
      matchLabels: {{- toYaml .Values.dns.podLabels | nindent 8 }}
  {{- range .Values.dns.cidrs }}
  - ipBlock: {cidr: {{ . | quote }}}
  {{- end }}
ports:
  - {protocol: UDP, port: 53}
  - {protocol: TCP, port: 53}
{{- end }}

{{/* Agent pods, as a NetworkPolicy peer. */}}
{{- define "agentsessions.agentPeer" -}}
podSelector:
  matchLabels:
    app.kubernetes.io/managed-by: agentsessions
{{- if .Values.watchNamespaces }}
namespaceSelector:
  matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson .Values.watchNamespaces }}}
{{- else }}
namespaceSelector: {}
{{- end }}
{{- end }}

{{/* The way to the HTTP port of agent pods. */}}
{{- define "agentsessions.agentEgressRule" -}}
to:
  - {{- include "agentsessions.agentPeer" . | nindent 4 }}
ports:
  - {protocol: TCP, port: 8000}
{{- end }}
