{{/* Every template begins with this: what is missing or null in the values is put there (files/defaults.yaml says why). */}}
{{- define "pipebell.complete" -}}
{{- include "pipebell.fill" (dict "into" .Values "from" (.Files.Get "files/defaults.yaml" | fromYaml)) -}}
{{- end -}}

{{- define "pipebell.fill" -}}
{{- $into := .into -}}
{{- range $key, $default := .from -}}
{{- if not (hasKey $into $key) -}}
{{- $_ := set $into $key $default -}}
{{- else if kindIs "invalid" (index $into $key) -}}
{{- $_ := set $into $key $default -}}
{{- else if kindIs "map" $default -}}
{{- include "pipebell.fill" (dict "into" (index $into $key) "from" $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pipebell.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names of cluster-wide objects: two releases in two namespaces may have the same name, but only one of them can
     serve all namespaces, so these need no namespace in them. */}}
{{- define "pipebell.operator" -}}
{{- printf "%s-operator" (include "pipebell.fullname" .) -}}
{{- end -}}

{{- define "pipebell.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "pipebell.labels" -}}
{{ include "pipebell.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pipebell.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pipebell.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pipebell.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if not (kindIs "string" $tag) -}}{{- $tag = int64 $tag -}}{{- end -}}
{{- printf "%s:%v" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "pipebell.rootConfigMap" -}}
{{- $given := list -}}
{{- range $key := list "config" "configJson" "existingConfigMap" -}}
{{- if index $.Values.root $key -}}{{- $given = append $given (printf "root.%s" $key) -}}{{- end -}}
{{- end -}}
{{- if gt (len $given) 1 -}}
{{- fail (printf "%s are set: choose one of them" (join " and " $given)) -}}
{{- end -}}
{{- default (printf "%s-root" (include "pipebell.fullname" .)) .Values.root.existingConfigMap -}}
{{- end -}}

{{/* Namespaces that the operator reads configurations of: the served ones and those that share. */}}
{{- define "pipebell.readNamespaces" -}}
{{- $shared := default (list .Release.Namespace) .Values.sharedNamespaces -}}
{{- concat .Values.watchNamespaces $shared | uniq | toJson -}}
{{- end -}}
