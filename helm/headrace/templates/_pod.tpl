{{/* What every pod has. Called with root, values (of the role), account; the containers are the caller's. */}}
{{- define "headrace.podSettings" -}}
serviceAccountName: {{ .account | default (include "headrace.name" .root) }}
automountServiceAccountToken: false
# The variables that Kubernetes makes of a service called headrace would be settings that nobody knows.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName | default .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector | default .root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations | default .root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* One container. Called with root, role (of `headrace run`), name (of the container), values, port, env; or with entrypoint or command. */}}
{{- define "headrace.container" -}}
{{- $root := .root }}
- name: {{ .name }}
  image: {{ include "headrace.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- if .entrypoint }}
  command: {{ toYaml .entrypoint | nindent 4 }}
  {{- else if .command }}
  args: {{ toYaml .command | nindent 4 }}
  {{- else }}
  args:
    - run
    - {{ .role }}
    - {{ include "headrace.site" .root }}
    # Its name among all instances: that of the pod, which is the same after a restart.
    - --name
    - {{ .instance | default "$(POD_NAME)" }}
    {{- range $key, $value := .values.options }}
    - --option
    - {{ printf "%s=%v" $key $value | quote }}
    {{- end }}
  {{- end }}
  env:
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    {{- if .values.sourceOfNode }}
    - name: NODE_NAME
      valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
    {{- end }}
    - name: HEADRACE_BROKER__BOOTSTRAP
      value: {{ required "kafka.bootstrap: where the brokers are, HOST:PORT" .root.Values.kafka.bootstrap | quote }}
    {{- if ne .root.Values.kafka.securityProtocol "PLAINTEXT" }}
    - name: HEADRACE_BROKER__SECURITY_PROTOCOL
      value: {{ .root.Values.kafka.securityProtocol }}
    {{- end }}
    {{- if .root.Values.kafka.caSecret.name }}
    - name: HEADRACE_BROKER__CA_FILE
      value: /run/secrets/kafka-ca/{{ .root.Values.kafka.caSecret.key }}
    {{- end }}
    {{- if .root.Values.kafka.passwordSecret }}
    - name: HEADRACE_BROKER__SASL_MECHANISM
      value: {{ .root.Values.kafka.saslMechanism }}
    - name: HEADRACE_BROKER__USERNAME
      value: {{ printf "%s%s" .root.Values.kafka.usernamePrefix .role | quote }}
    - name: HEADRACE_BROKER__PASSWORD_FILE
      value: /run/secrets/kafka-password/{{ .role }}
    {{- end }}
    {{- if .port }}
    - name: HEADRACE_HTTP__LISTEN
      value: "0.0.0.0:{{ .port }}"
    - name: HEADRACE_HTTP__TOKEN
      value: /run/secrets/http-token/{{ .root.Values.http.tokenSecret.key }}
    {{- end }}
    - name: HEADRACE_LOG__FORMAT
      value: {{ .root.Values.log.format }}
    {{- range $settings := list .root.Values.settings .values.settings .env }}
    {{- range $key, $value := $settings }}
    - name: {{ $key }}
      value: {{ tpl (toString $value) $root | quote }}
    {{- end }}
    {{- end }}
  {{- with .values.envFromSecrets }}
  envFrom:
    {{- range . }}
    - secretRef: {name: {{ . }}}
    {{- end }}
  {{- end }}
  {{- if .port }}
  ports:
    - {name: {{ .portName | default "http" }}, containerPort: {{ .port }}}
    {{- range $name, $port := .values.ports }}
    - {name: {{ $name }}, containerPort: {{ $port }}}
    {{- end }}
  # A first start that has to compile its kernels anew takes a minute; one with the image's takes seconds.
  startupProbe:
    httpGet: {path: /livez, port: {{ .port }}}
    periodSeconds: 3
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /livez, port: {{ .port }}}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /readyz, port: {{ .port }}}
    periodSeconds: 5
    timeoutSeconds: 5
    failureThreshold: 2
  {{- end }}
  {{- with .values.resources }}
  resources: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    - {name: run, mountPath: /var/lib/headrace}
    - {name: tmp, mountPath: /tmp}
    {{- if not .root.Values.site.imageFolder }}
    - {name: site, mountPath: /site, readOnly: true}
    {{- end }}
    {{- if .port }}
    - {name: http-token, mountPath: /run/secrets/http-token, readOnly: true}
    {{- end }}
    {{- if .root.Values.kafka.caSecret.name }}
    - {name: kafka-ca, mountPath: /run/secrets/kafka-ca, readOnly: true}
    {{- end }}
    {{- if .root.Values.kafka.passwordSecret }}
    - {name: {{ printf "kafka-%s" .role }}, mountPath: /run/secrets/kafka-password, readOnly: true}
    {{- end }}
    {{- range .values.secretMounts }}
    - {name: {{ printf "secret-%s" .name }}, mountPath: {{ printf "/run/secrets/%s" .name }}, readOnly: true}
    {{- end }}
{{- end }}

{{/* The volumes of a pod but `run`. Called with root, roles (those of its containers), values, port, siteName (of the config map). */}}
{{- define "headrace.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- if not .root.Values.site.imageFolder }}
- name: site
  configMap:
    {{- if .root.Values.site.configMap.name }}
    name: {{ .root.Values.site.configMap.name }}
    {{- with .root.Values.site.configMap.items }}
    items: {{ toYaml . | nindent 6 }}
    {{- end }}
    {{- else }}
    name: {{ .siteName | default (printf "%s-site" (include "headrace.name" .root)) }}
    items:
      {{- range $file, $_ := include "headrace.siteFiles" (dict "root" .root "role" (first .roles)) | fromJson }}
      - {key: {{ include "headrace.siteKey" $file }}, path: {{ $file }}}
      {{- end }}
    {{- end }}
{{- end }}
{{- if .port }}
- name: http-token
  secret:
    secretName: {{ required "http.tokenSecret.name: a Secret with the token that clients of /metrics need" .root.Values.http.tokenSecret.name }}
    defaultMode: 0440
{{- end }}
{{- with .root.Values.kafka.caSecret.name }}
- name: kafka-ca
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if .root.Values.kafka.passwordSecret }}
{{- range .roles }}
- name: kafka-{{ . }}
  secret:
    secretName: {{ $.root.Values.kafka.passwordSecret }}
    defaultMode: 0440
    items: [{key: {{ . }}, path: {{ . }}}]   # a role sees its own password alone
{{- end }}
{{- end }}
{{- range .values.secretMounts }}
- name: secret-{{ .name }}
  secret: {secretName: {{ .secretName }}, defaultMode: 0440}
{{- end }}
{{- end }}
