// The yardstick in Go: argoproj's notifications-engine, the library under Argo CD's notifications, as a controller for
// PipelineEvents. Its configuration is the ConfigMap that tests/bench/peers.py applies: one trigger, one webhook.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/argoproj/notifications-engine/pkg/api"
	"github.com/argoproj/notifications-engine/pkg/controller"
	"github.com/argoproj/notifications-engine/pkg/services"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const workers = 20

var events = schema.GroupVersionResource{Group: "pipebell.io", Version: "v1alpha1", Resource: "pipelineevents"}

func main() {
	logrus.SetLevel(logrus.ErrorLevel)
	stopped, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(stopped, os.Getenv("NAMESPACE")); err != nil {
		log.Fatal(err)
	}
}

// run serves one namespace until ctx ends.
func run(ctx context.Context, namespace string) error {
	connection, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	connection.QPS, connection.Burst = 1e5, 1e5 // the client's own throttle is not what is measured
	core := informers.NewSharedInformerFactoryWithOptions(
		kubernetes.NewForConfigOrDie(connection), time.Hour, informers.WithNamespace(namespace))
	secrets, configs := core.Core().V1().Secrets().Informer(), core.Core().V1().ConfigMaps().Informer()
	client := dynamic.NewForConfigOrDie(connection)
	watched := dynamicinformer.NewFilteredDynamicInformer(
		client, events, namespace, time.Hour, cache.Indexers{}, func(*metav1.ListOptions) {}).Informer()
	factory := api.NewFactory(api.Settings{
		ConfigMapName: "peer",
		SecretName:    "peer",
		InitGetVars:   variables,
	}, namespace, secrets, configs)
	notifying := controller.NewController(client.Resource(events), watched, factory)

	core.Start(ctx.Done())
	go watched.Run(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), secrets.HasSynced, configs.HasSynced, watched.HasSynced) {
		return errors.New("the caches were not filled")
	}
	log.Print("ready")
	notifying.Run(workers, ctx.Done())
	return nil
}

// variables are what the templates and the trigger's condition see.
func variables(*api.Config, *corev1.ConfigMap, *corev1.Secret) (api.GetVars, error) {
	return func(object map[string]any, _ services.Destination) map[string]any {
		return map[string]any{"event": object}
	}, nil
}
