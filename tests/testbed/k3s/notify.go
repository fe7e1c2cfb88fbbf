package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func logf(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "time=%q level=info msg=%q\n", time.Now().UTC().Format(time.RFC3339Nano), fmt.Sprintf(format, values...))
}

// notify tells systemd (sd_notify(3)); a no-op where there is none.
func notify(socket, state string) {
	if socket == "" {
		return
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		logf("sd_notify: %v", err)
		return
	}
	defer connection.Close()
	if _, err := connection.Write([]byte(state)); err != nil {
		logf("sd_notify: %v", err)
	}
}
