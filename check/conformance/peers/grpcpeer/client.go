package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const patience = 30 * time.Second

func dial(address, authority string) (*grpc.ClientConn, error) {
	return grpc.Dial(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(authority))
}

func check(address, authority string) error {
	conn, err := dial(address, authority)
	if err != nil {
		return err
	}
	defer conn.Close()
	checks := []struct {
		name string
		run  func(context.Context, *grpc.ClientConn) error
	}{
		{"unary with metadata", checkEcho}, {"large message", checkLarge}, {"status", checkFail}, {"deadline", checkDeadline},
		{"server streaming", checkCount}, {"client streaming", checkJoin}, {"both ways", checkTalk}, {"cancel", checkCancel},
		{"unknown method", checkUnknown}, {"many at once", checkMany},
	}
	failed := 0
	for _, one := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := one.run(ctx, conn); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", one.name, err)
		} else {
			fmt.Printf("ok   %s\n", one.name)
		}
		cancel()
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	}
	return nil
}

func call(ctx context.Context, conn *grpc.ClientConn, method, value string, options ...grpc.CallOption) (string, error) {
	answer := new(text)
	err := conn.Invoke(ctx, "/peer.Peer/"+method, wrapperspb.String(value), answer, options...)
	return answer.Value, err
}

func open(ctx context.Context, conn *grpc.ClientConn, method string) (grpc.ClientStream, error) {
	description := &grpc.StreamDesc{StreamName: method, ServerStreams: true, ClientStreams: true}
	return conn.NewStream(ctx, description, "/peer.Peer/"+method)
}

func checkEcho(ctx context.Context, conn *grpc.ClientConn) error {
	var header, trailer metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "x-say", "hello")
	answer, err := call(ctx, conn, "Echo", "abc", grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		return err
	}
	if answer != "abc" || fmt.Sprint(header.Get("x-header")) != "[hello]" || fmt.Sprint(trailer.Get("x-trailer")) != "[hello]" {
		return fmt.Errorf("got %q, header %v, trailer %v", answer, header, trailer)
	}
	if binary := trailer.Get("x-bytes-bin"); len(binary) != 1 || binary[0] != "\x00\xffhello" {
		return fmt.Errorf("binary trailer is %q", binary)
	}
	return nil
}

func checkLarge(ctx context.Context, conn *grpc.ClientConn) error {
	large := strings.Repeat("0123456789abcdef", 3<<20/16)
	answer, err := call(ctx, conn, "Echo", large)
	if err != nil {
		return err
	}
	if answer != large {
		return fmt.Errorf("%d bytes came back changed (%d)", len(large), len(answer))
	}
	return nil
}

func checkFail(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := call(ctx, conn, "Fail", "100% Umlaut ä")
	if got := status.Convert(err); got.Code() != codes.FailedPrecondition || got.Message() != "because of 100% Umlaut ä" {
		return fmt.Errorf("got %v", err)
	}
	return nil
}

func checkDeadline(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := call(ctx, conn, "Sleep", "")
	if status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("got %v", err)
	}
	return nil
}

func checkCount(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := open(ctx, conn, "Count")
	if err != nil {
		return err
	}
	if err := stream.SendMsg(wrapperspb.String("")); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for i := 0; i < 1000; i++ {
		piece := new(text)
		if err := stream.RecvMsg(piece); err != nil {
			return fmt.Errorf("piece %d: %w", i, err)
		}
		if len(piece.Value) != 1024 || piece.Value[:4] != fmt.Sprintf("%04d", i) {
			return fmt.Errorf("piece %d is %.8q", i, piece.Value)
		}
	}
	return atEnd(stream)
}

func atEnd(stream grpc.ClientStream) error {
	if err := stream.RecvMsg(new(text)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("instead of the end: %v", err)
	}
	return nil
}

func checkJoin(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := open(ctx, conn, "Join")
	if err != nil {
		return err
	}
	for i := 0; i < 2000; i++ {
		if err := stream.SendMsg(wrapperspb.String(strings.Repeat("y", 1000))); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	answer := new(text)
	if err := stream.RecvMsg(answer); err != nil {
		return err
	}
	if answer.Value != "2000000" {
		return fmt.Errorf("%s bytes arrived", answer.Value)
	}
	return atEnd(stream)
}

func checkTalk(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := open(ctx, conn, "Talk")
	if err != nil {
		return err
	}
	for i := 0; i < 100; i++ {
		said := fmt.Sprint(i)
		if err := stream.SendMsg(wrapperspb.String(said)); err != nil {
			return err
		}
		answer := new(text)
		if err := stream.RecvMsg(answer); err != nil {
			return err
		}
		if answer.Value != "re: "+said {
			return fmt.Errorf("got %q for %q", answer.Value, said)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return atEnd(stream)
}

// A call that was cancelled must end at the server, or the second one finds it still running.
func checkCancel(ctx context.Context, conn *grpc.ClientConn) error {
	cancelled := false
	for deadline := time.Now().Add(patience / 2); ; time.Sleep(20 * time.Millisecond) {
		once, cancel := context.WithCancel(ctx)
		stream, err := open(once, conn, "Forever")
		if err == nil {
			err = stream.SendMsg(wrapperspb.String(""))
		}
		if err == nil {
			err = stream.CloseSend()
		}
		answer := new(text)
		if err == nil {
			err = stream.RecvMsg(answer)
		}
		cancel()
		if err != nil {
			return err
		}
		// The first call finds itself alone; so must one that comes after it was cancelled.
		if value, _ := strconv.Atoi(answer.Value); value == 1 {
			if cancelled {
				return nil
			}
			cancelled = true
		} else if time.Now().After(deadline) {
			return fmt.Errorf("%s calls run that were cancelled", answer.Value)
		}
	}
}

func checkUnknown(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := call(ctx, conn, "Missing", "")
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("got %v", err)
	}
	return nil
}

func checkMany(ctx context.Context, conn *grpc.ClientConn) error {
	failed, err := echoes(ctx, conn, 2000, 64)
	if failed > 0 {
		return fmt.Errorf("%d failed, one with %w", failed, err)
	}
	return nil
}

func load(address, authority, count, callers string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	width, err := strconv.Atoi(callers)
	if err != nil {
		return err
	}
	conn, err := dial(address, authority)
	if err != nil {
		return err
	}
	defer conn.Close()
	failed, err := echoes(context.Background(), conn, n, width)
	fmt.Printf("%d of %d failed\n", failed, n)
	return err
}

func echoes(ctx context.Context, conn *grpc.ClientConn, n, width int) (int64, error) {
	var left, failed atomic.Int64
	var last atomic.Value
	left.Store(int64(n))
	var group sync.WaitGroup
	for i := 0; i < width; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := left.Add(-1); number >= 0; number = left.Add(-1) {
				said := fmt.Sprint(number)
				if answer, err := call(ctx, conn, "Echo", said); err != nil || answer != said {
					failed.Add(1)
					last.Store(fmt.Errorf("%q, %v", answer, err))
				}
			}
		}()
	}
	group.Wait()
	err, _ := last.Load().(error)
	return failed.Load(), err
}
