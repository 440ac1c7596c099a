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

{{- define "headrace.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* The folder of the site inside a container: its own mount, or one that the image brings. */}}
{{- define "headrace.site" -}}
{{- .Values.site.imageFolder | default "/site" }}
{{- end }}

{{/* A file of the site's folder as a key of the config map, which may hold no slash. */}}
{{- define "headrace.siteKey" -}}
{{- . | replace "/" "__" }}
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
