// Command probe is what the testbed's test pods run: it serves, and asks others.
//
//	probe serve [PORT]     answer every request with the caller's address and this pod's name
//	probe get URL          print the answer; exit 1 when there is none within 3 s
//	probe dial HOST:PORT   connect by TCP; exit 1 when that fails within 3 s
//	probe resolve NAME     print the name's addresses
//	probe sleep            wait for a signal
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const patience = 3 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		args = []string{"sleep"}
	}
	switch args[0] {
	case "serve":
		return serve(append(args, "8080")[1])
	case "get":
		return get(args[1], args[2:])
	case "dial":
		connection, err := net.DialTimeout("tcp", args[1], patience)
		if err != nil {
			return err
		}
		fmt.Println("connected to", connection.RemoteAddr())
		return connection.Close()
	case "resolve":
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		addresses, err := net.DefaultResolver.LookupHost(ctx, args[1])
		fmt.Println(strings.Join(addresses, " "))
		return err
	case "sleep":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		<-signals
		return nil
	}
	return fmt.Errorf("unknown command %q", args[0])
}

func serve(port string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Println("serving on", port)
	return http.ListenAndServe(":"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s for %s (%s)\n", name, host, r.Header.Get("X-Forwarded-For"))
	}))
}

func get(url string, host []string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if len(host) > 0 {
		request.Host = host[0]
	}
	answer, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	fmt.Print(string(body))
	return err
}
