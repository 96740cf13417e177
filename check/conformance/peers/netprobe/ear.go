package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"syscall"
)

const allProtocols = 0x0300 // ETH_P_ALL in network order

// ear reports every frame that comes in by eth0 and carries the token, or is meant for the port.
func ear(token string, port int) {
	socket := packetSocket(allProtocols)
	say("LISTENING")
	buffer := make([]byte, 65536)
	for {
		length, from, err := syscall.Recvfrom(socket, buffer, 0)
		if err != nil {
			continue
		}
		link, ok := from.(*syscall.SockaddrLinklayer)
		if !ok || link.Pkttype == syscall.PACKET_OUTGOING {
			continue
		}
		frame := buffer[:length]
		if name := probeName(frame, token); name != "" {
			say("HEARD %s", name)
		} else if what := toPort(frame, port); what != "" {
			say("HEARD %s", what)
		}
	}
}

// probeName is what stands between the token and a semicolon.
func probeName(bytesIn []byte, token string) string {
	at := bytes.Index(bytesIn, []byte(token))
	if at < 0 {
		return ""
	}
	rest := bytesIn[at+len(token):]
	end := bytes.IndexByte(rest, ';')
	if end < 0 || end > 80 {
		return "unnamed"
	}
	return string(rest[:end])
}

// toPort describes a TCP or UDP packet to the port, as programs of the other side send it without data.
func toPort(frame []byte, port int) string {
	if len(frame) < 14 {
		return ""
	}
	packet := frame[14:]
	var protocol byte
	var transport []byte
	var source net.IP
	switch binary.BigEndian.Uint16(frame[12:14]) {
	case 0x0800:
		if len(packet) < 20 {
			return ""
		}
		header := int(packet[0]&15) * 4
		if len(packet) < header+4 {
			return ""
		}
		protocol, transport, source = packet[9], packet[header:], net.IP(packet[12:16])
	case 0x86dd:
		if len(packet) < 44 {
			return ""
		}
		protocol, transport, source = packet[6], packet[40:], net.IP(packet[8:24])
	default:
		return ""
	}
	if (protocol != 6 && protocol != 17) || int(binary.BigEndian.Uint16(transport[2:4])) != port {
		return ""
	}
	return fmt.Sprintf("protocol %d from %s to the port", protocol, source)
}

func packetSocket(protocol int) int {
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, protocol)
	if err != nil {
		fail("packet socket: " + err.Error())
	}
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		fail(err.Error())
	}
	address := &syscall.SockaddrLinklayer{Protocol: uint16(protocol), Ifindex: device.Index}
	if err := syscall.Bind(socket, address); err != nil {
		fail("bind to eth0: " + err.Error())
	}
	return socket
}

// listenOnHost reports what sockets of every kind receive: only what was let in arrives there.
func listenOnHost(token string, port int) {
	listener, err := net.Listen("tcp", fmt.Sprintf("[::]:%d", port))
	if err != nil {
		fail(err.Error())
	}
	datagrams, err := net.ListenPacket("udp", fmt.Sprintf("[::]:%d", port))
	if err != nil {
		fail(err.Error())
	}
	for _, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
		for _, protocol := range rawProtocols {
			go listenRaw(family, protocol, token)
		}
		echo := syscall.IPPROTO_ICMP
		if family == syscall.AF_INET6 {
			echo = syscall.IPPROTO_ICMPV6
		}
		go listenRaw(family, echo, token)
	}
	go func() {
		buffer := make([]byte, 65536)
		for {
			length, from, err := datagrams.ReadFrom(buffer)
			if err != nil {
				return
			}
			if name := probeName(buffer[:length], token); name != "" {
				say("HEARD %s (datagram from %s)", name, from)
			}
		}
	}()
	say("LISTENING")
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		say("HEARD connection from %s", connection.RemoteAddr())
		connection.Close()
	}
}

func listenRaw(family, protocol int, token string) {
	socket, err := syscall.Socket(family, syscall.SOCK_RAW, protocol)
	if err != nil {
		fail(fmt.Sprintf("raw socket for protocol %d: %v", protocol, err))
	}
	buffer := make([]byte, 65536)
	for {
		length, _, err := syscall.Recvfrom(socket, buffer, 0)
		if err != nil {
			return
		}
		if name := probeName(buffer[:length], token); name != "" {
			say("HEARD %s (protocol %d)", name, protocol)
		}
	}
}
