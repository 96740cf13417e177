// Command grpcpeer is a gRPC server and client for tests of what stands between the two.
//
//	grpcpeer serve ADDRESS            serves until killed; prints the address it listens on
//	grpcpeer check ADDRESS AUTHORITY  calls every method through ADDRESS, one line per finding; fails if one is wrong
//	grpcpeer load ADDRESS AUTHORITY N CALLERS  N echoes; prints how many failed
//
// There is no generated code: messages are the well-known wrappers, and the service is described by hand.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "grpcpeer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 3 && args[0] == "check":
		return check(args[1], args[2])
	case len(args) == 5 && args[0] == "load":
		return load(args[1], args[2], args[3], args[4])
	}
	return fmt.Errorf("usage: serve ADDRESS | check ADDRESS AUTHORITY | load ADDRESS AUTHORITY N CALLERS")
}
