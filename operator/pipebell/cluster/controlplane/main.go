// Package main is a Kubernetes control plane in one process: the real kube-apiserver on loopback, with an
// embedded etcd behind a unix socket. It exists for Pipebell's demo, its tests and its users' own trials.
package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/restclient"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// etcdPatience bounds the wait for the store; a store with tens of thousands of objects opens in far less.
const etcdPatience = 30 * time.Second

// serveStore starts etcd on sockets in dir, where it also keeps its data, and returns the client address.
// Nothing here outlives a trial on purpose, so durability against power loss (fsync) is traded for speed.
func serveStore(dir string) (string, error) {
	socket := func(name string) url.URL { return url.URL{Scheme: "unix", Path: filepath.Join(dir, name)} }
	client, peer := socket("client.sock"), socket("peer.sock")

	config := embed.NewConfig()
	config.Dir = filepath.Join(dir, "data")
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.QuotaBackendBytes = 8 << 30

	store, err := embed.StartEtcd(config)
	if err != nil {
		return "", err
	}
	select {
	case <-store.Server.ReadyNotify():
		return client.String(), nil
	case err := <-store.Err():
		return "", err
	case <-time.After(etcdPatience):
		return "", fmt.Errorf("etcd not ready after %s", etcdPatience)
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: pipebell-control-plane STORE-DIRECTORY [kube-apiserver flags]")
		os.Exit(2)
	}
	address, err := serveStore(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
	command := app.NewAPIServerCommand()
	flags := append([]string{"--etcd-servers=" + address}, os.Args[2:]...)
	os.Args = append([]string{"kube-apiserver"}, flags...)
	command.SetArgs(flags)
	os.Exit(cli.Run(command))
}
