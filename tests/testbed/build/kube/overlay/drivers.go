// Laid over kine's pkg/endpoint/init.go: SQLite alone, of the databases that it can lie on.
package endpoint

import _ "github.com/k3s-io/kine/pkg/drivers/sqlite"
