{{- define "headrace.name" -}}
{{- if contains "headrace" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-headrace" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What selects the pods of the release; with `component` those of one role. */}}
{{- define "headrace.selector" -}}
app.kubernetes.io/name: headrace
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "headrace.labels" -}}
{{ include "headrace.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Called with root and values: a tag or digest of the role's own goes before that of all. */}}
{{- define "headrace.image" -}}
{{- $all := .root.Values.image }}
{{- $own := .values.image | default dict }}
{{- $which := ternary $own $all (or $own.tag $own.digest | not | not) }}
{{- $all.repository }}{{ if $which.digest }}@{{ $which.digest }}{{ else }}:{{ $which.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The folder of the site inside a container: its own mount, or one that the image brings. */}}
{{- define "headrace.site" -}}
{{- .Values.site.imageFolder | default "/site" }}
{{- end }}

{{/* A file of the site's folder as a key of the config map, which may hold no slash. */}}
{{- define "headrace.siteKey" -}}
{{- . | replace "/" "__" }}
{{- end }}

{{/*
The files of the site that a role gets, by name, as JSON for fromJson. Called with root and role. A gateway reads site.yaml
and settings alone: a rule more or less is none of its business, and starts nothing anew there.
*/}}
{{- define "headrace.siteFiles" -}}
{{- $files := .root.Values.site.files | default dict }}
{{- if has .role (list "worker" "recorder" "scada" "alerts" "operator") }}{{ toJson $files }}{{ else }}{{ pick $files "site.yaml" "headrace.yaml" | toJson }}{{ end }}
{{- end }}

{{/*
What a pod starts anew for. Called with root and role. Rules rule once they are activated, and a restart changes nothing
about that: only `alerts`, which reads them with its subscriptions, and the toolbox, which activates them, need the newest.
*/}}
{{- define "headrace.siteChecksum" -}}
{{- $role := has .role (list "alerts" "operator") | ternary .role "ticker" }}
{{- $files := include "headrace.siteFiles" (dict "root" .root "role" $role) | fromJson }}
{{- set (deepCopy .root.Values.site) "files" $files | toJson | sha256sum }}
{{- end }}

{{/*
A role's spool has to fit where it lies: Kubernetes evicts a pod whose emptyDir is over its limit, and the spool is gone.
Called with root, role, values, room (a size).
*/}}
{{- define "headrace.spoolFits" -}}
{{- $settings := merge (dict) (.values.settings | default dict) (.root.Values.settings | default dict) }}
{{- $file := get (.root.Values.site.files | default dict) "headrace.yaml" | fromYaml }}
{{- $limit := $settings.HEADRACE_SPOOL__LIMIT_MB | default (dig "spool" "limit_mb" 512 $file) | int64 }}
{{- $unit := get (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (regexFind "[KMGT]i$" .room) }}
{{- if gt (mulf $limit 1000000) (mulf (regexFind "^[0-9.]+" .room | float64) $unit) }}
{{- fail (printf "%s: spool.limit_mb is %d, and its disk has %s: a larger disk, or HEADRACE_SPOOL__LIMIT_MB in the settings of this role" .role $limit .room) }}
{{- end }}
{{- end }}

{{/* Roles that run as stateful sets, as JSON for fromJson: where the plant is simulated, others reach it in its pod. */}}
{{- define "headrace.roles" -}}
{{- $roles := dict }}
{{- range $role, $values := .Values.roles }}
{{- if and $values.enabled (not (and $.Values.plant.enabled (has $role (list "opcua" "actuators")))) }}
{{- $_ := set $roles $role $values }}
{{- end }}
{{- end }}
{{- toJson $roles }}
{{- end }}
