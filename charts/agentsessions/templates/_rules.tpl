{{/* All that the operator may do; the same rules in a ClusterRole or in one Role per watched namespace. */}}
{{- define "agentsessions.rules" -}}
- apiGroups: [agentsessions.dev]
  resources: [agentsessions, agenttemplates, agentpools]
  verbs: [get, list, watch]
# Sessions are deleted after ttlSecondsAfterFinished and ttlSecondsAfterIdle.
- apiGroups: [agentsessions.dev]
  resources: [agentsessions]
  verbs: [delete]
# For the finalizer of sessions whose stored conversation goes with them. RBAC knows no fields: the admission policy lets
# nothing else through.
- apiGroups: [agentsessions.dev]
  resources: [agentsessions]
  verbs: [patch]
- apiGroups: [agentsessions.dev]
  resources: [agentsessions/status, agentpools/status]
  verbs: [get, patch]
# Owner references that block deletion need this where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [agentsessions.dev]
  resources: [agentsessions/finalizers, agentpools/finalizers]
  verbs: [update]
# Patch: the label and the annotations of `disruption`, when that changes while the pod runs.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete, patch]
# Create only: the operator hands a prompt over and can never read a Secret, not even its own.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, delete, patch]
# The hosts of pools. Nothing is deleted: the garbage collector takes what a deleted pool leaves.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
# The former settings of hosts, to go back to when new ones fail.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
# Why a pod does not start, and why one that is gone has ended, stands in its events only.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}

{{/* What the gateway's directory may see. */}}
{{- define "agentsessions.gateway.rules" -}}
- apiGroups: [agentsessions.dev]
  resources: [agentsessions, agentpools]
  verbs: [get, list, watch]
# To wake a session that sleeps: its status.lastRequestTime, nothing else, is written.
- apiGroups: [agentsessions.dev]
  resources: [agentsessions/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
{{- end }}
