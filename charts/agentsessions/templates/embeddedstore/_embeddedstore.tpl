{{/* Shorter than other names: a StatefulSet's name and a hash have to fit into a label. */}}
{{- define "agentsessions.embeddedStoreName" -}}
{{- printf "%s-embedded-store" (include "agentsessions.fullname" . | trunc 37 | trimSuffix "-") }}
{{- end }}

{{/* The Secret with the password. Without one of the user's the operator makes it, as it does with the signing key. */}}
{{- define "agentsessions.embeddedStoreSecret" -}}
{{- default (include "agentsessions.embeddedStoreName" .) .Values.embeddedStore.existingSecret }}
{{- end }}

{{/* Where the Secret is mounted, in the store's pod and in the operator's. */}}
{{- define "agentsessions.embeddedStoreDirectory" -}}
/var/run/agentsessions/embedded-store
{{- end }}

{{/* What the operator is told. */}}
{{- define "agentsessions.embeddedStoreConfig" -}}
enabled: {{ .Values.embeddedStore.enabled }}
host: {{ include "agentsessions.embeddedStoreName" . }}.{{ .Release.Namespace }}.svc
port: 6379
namespace: {{ .Release.Namespace }}
podLabels: {{- include "agentsessions.selectorLabels" (dict "root" . "component" "embedded-store") | nindent 2 }}
passwordFile: {{ include "agentsessions.embeddedStoreDirectory" . }}/password
secretName: {{ include "agentsessions.embeddedStoreSecret" . }}
makeSecret: {{ empty .Values.embeddedStore.existingSecret }}
{{- end }}

{{- define "agentsessions.embeddedStoreWarning" -}}
for trying things out: one replica, no backup, one password for all sessions
{{- end }}

{{/* Starts the server. It is given the password's hash only, so that any password will do and none is in its arguments;
     agents may neither watch each other's commands, nor wipe or reconfigure the store. */}}
{{- define "agentsessions.embeddedStoreStart" -}}
umask 077
password=$(cat {{ include "agentsessions.embeddedStoreDirectory" . }}/password)
if [ -z "$password" ]; then
  echo "the key 'password' of Secret {{ include "agentsessions.embeddedStoreSecret" . }} is empty" >&2
  exit 1
fi
# For the readiness probe: what the server was started with, also after the Secret has changed.
printf %s "$password" > /tmp/password
hash=$(printf %s "$password" | sha256sum)
printf 'user default on #%s ~* &* +@all -@admin -@dangerous +info\n' "${hash%% *}" > /tmp/users.acl
exec valkey-server --port 6379 --dir /data --aclfile /tmp/users.acl --save "" \
  --appendonly yes --appendfsync everysec \
  --maxmemory {{ .Values.embeddedStore.maxMemory }} --maxmemory-policy noeviction
{{- end }}
