//go:build tools

// Package peers pins the foreign programs that tests speak HTTP/2 and gRPC with.
package peers

import _ "github.com/summerwind/h2spec/cmd/h2spec"
