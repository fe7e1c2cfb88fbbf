package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"
)

// apiReady asks the API server's /readyz with the supervisor's certificate.
func apiReady(c *config) func() error {
	var client *http.Client
	return func() error {
		if client == nil {
			made, err := supervisorClient(c)
			if err != nil {
				return err
			}
			client = made
		}
		answer, err := client.Get("https://127.0.0.1:" + c.get("https-listen-port", "6443") + "/readyz")
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz says %s", answer.Status)
		}
		return nil
	}
}

func supervisorClient(c *config) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(c.server("tls", "client-supervisor.crt"), c.server("tls", "client-supervisor.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(c.server("tls", "server-ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	settings := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: settings}, Timeout: 5 * time.Second}, nil
}
