package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type text = wrapperspb.StringValue

// The service's methods, as generated code would describe them.
var service = grpc.ServiceDesc{
	ServiceName: "peer.Peer",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: handleEcho}, {MethodName: "Fail", Handler: handleFail}, {MethodName: "Sleep", Handler: handleSleep}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Count", Handler: count, ServerStreams: true},
		{StreamName: "Join", Handler: join, ClientStreams: true},
		{StreamName: "Talk", Handler: talk, ServerStreams: true, ClientStreams: true},
		{StreamName: "Forever", Handler: forever, ServerStreams: true},
	},
}

// Streams of Forever that run now: a cancelled call must reach the server.
var running = make(chan int, 1)

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	running <- 0
	server := grpc.NewServer()
	server.RegisterService(&service, struct{}{})
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

func unary(decode func(any) error, answer func(string) (string, error)) (any, error) {
	request := new(text)
	if err := decode(request); err != nil {
		return nil, err
	}
	value, err := answer(request.Value)
	if err != nil {
		return nil, err
	}
	return wrapperspb.String(value), nil
}

// Echo repeats its text, and the caller's "x-say" in a header and in a trailer.
func handleEcho(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	given, _ := metadata.FromIncomingContext(ctx)
	say := strings.Join(given.Get("x-say"), ",")
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-header", say)); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", say, "x-bytes-bin", "\x00\xff"+say)); err != nil {
		return nil, err
	}
	return unary(decode, func(value string) (string, error) { return value, nil })
}

// Fail answers with a status and nothing else.
func handleFail(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	return unary(decode, func(value string) (string, error) {
		return "", status.Error(codes.FailedPrecondition, "because of "+value)
	})
}

// Sleep outlasts any deadline and says in its own error whether the deadline reached it.
func handleSleep(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	return unary(decode, func(value string) (string, error) {
		if _, has := ctx.Deadline(); !has {
			return "", status.Error(codes.Internal, "no deadline arrived")
		}
		select {
		case <-ctx.Done():
			return "", status.FromContextError(ctx.Err()).Err()
		case <-time.After(time.Minute):
			return value, nil
		}
	})
}

// Count sends 1000 pieces of 1 KiB.
func count(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(text)); err != nil {
		return err
	}
	for i := 0; i < 1000; i++ {
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprintf("%04d%s", i, strings.Repeat("x", 1020)))); err != nil {
			return err
		}
	}
	return nil
}

// Join reads all texts and answers how many bytes they had.
func join(_ any, stream grpc.ServerStream) error {
	sum := 0
	for {
		message := new(text)
		switch err := stream.RecvMsg(message); err {
		case nil:
			sum += len(message.Value)
		case io.EOF:
			return stream.SendMsg(wrapperspb.String(fmt.Sprint(sum)))
		default:
			return err
		}
	}
}

// Talk answers every text before the next one is sent.
func talk(_ any, stream grpc.ServerStream) error {
	for {
		message := new(text)
		switch err := stream.RecvMsg(message); err {
		case nil:
			if err := stream.SendMsg(wrapperspb.String("re: " + message.Value)); err != nil {
				return err
			}
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// Forever says how many of its kind run, then waits for the caller to leave.
func forever(_ any, stream grpc.ServerStream) error {
	now := <-running + 1
	running <- now
	defer func() { running <- (<-running) - 1 }()
	if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(now))); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}
