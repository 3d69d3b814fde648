{{- define "gastown.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gastown.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gastown.labels" -}}
{{ include "gastown.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "gastown.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gastown.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
The reference of an image: its digest, else that of its tag, else the tag. The chart of a release knows the digests of that
release's tags (files/images.json), so that no tag which moves, in the registry or in a mirror, changes what runs. A tag of
another release, or of an image of one's own, has none there.
*/}}
{{- define "gastown.image" -}}
{{- $tag := .image.tag | default .version -}}
{{- $pinned := .files.Get "files/images.json" | default "{}" | fromJson -}}
{{- with .image.digest | default (dig .name $tag "" $pinned) -}}
{{ $.image.repository }}@{{ . }}
{{- else -}}
{{ .image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}
