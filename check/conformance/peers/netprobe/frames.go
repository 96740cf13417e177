package main

import (
	"encoding/binary"
	"net"
)

// Protocols besides TCP, UDP and ICMP: in IP, IPv6 in IP, GRE, ESP, SCTP, UDP-Lite, reserved.
var rawProtocols = []int{4, 41, 47, 50, 132, 136, 255}

func ethernet(destination, source net.HardwareAddr, kind uint16, payload []byte) []byte {
	frame := append([]byte{}, destination...)
	frame = append(frame, source...)
	frame = binary.BigEndian.AppendUint16(frame, kind)
	return append(frame, payload...)
}

func sum(parts ...[]byte) uint16 {
	total := uint32(0)
	for _, part := range parts {
		for at := 0; at < len(part); at += 2 {
			word := uint32(part[at]) << 8
			if at+1 < len(part) {
				word |= uint32(part[at+1])
			}
			total += word
		}
	}
	for total>>16 != 0 {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

func pseudo(source, destination net.IP, protocol byte, length int) []byte {
	header := append(append([]byte{}, source...), destination...)
	if len(source) == 4 {
		return append(header, 0, protocol, byte(length>>8), byte(length))
	}
	return append(header, 0, 0, byte(length>>8), byte(length), 0, 0, 0, protocol)
}

// ip is a packet of either family. `options` stand between an IPv4 header and its payload, and as a finished chain of
// extension headers, which begins with header `first`, in front of an IPv6 one.
func ip(source, destination net.IP, protocol byte, options []byte, first byte, payload []byte) []byte {
	if len(source) == 4 {
		header := make([]byte, 20, 20+len(options))
		header[0] = 0x45 + byte(len(options)/4)
		binary.BigEndian.PutUint16(header[2:], uint16(20+len(options)+len(payload)))
		header[8], header[9] = 64, protocol
		copy(header[12:], source)
		copy(header[16:], destination)
		header = append(header, options...)
		binary.BigEndian.PutUint16(header[10:], sum(header))
		return append(header, payload...)
	}
	header := make([]byte, 40)
	header[0], header[6], header[7] = 0x60, protocol, 64
	if len(options) > 0 {
		header[6] = first
	}
	binary.BigEndian.PutUint16(header[4:], uint16(len(options)+len(payload)))
	copy(header[8:], source)
	copy(header[24:], destination)
	return append(append(header, options...), payload...)
}

func udp(source, destination net.IP, from, to int, data []byte) []byte {
	packet := make([]byte, 8)
	binary.BigEndian.PutUint16(packet, uint16(from))
	binary.BigEndian.PutUint16(packet[2:], uint16(to))
	binary.BigEndian.PutUint16(packet[4:], uint16(8+len(data)))
	packet = append(packet, data...)
	binary.BigEndian.PutUint16(packet[6:], sum(pseudo(source, destination, 17, len(packet)), packet))
	return packet
}

// tcp is one segment with data and any flags.
func tcp(source, destination net.IP, from, to int, flags byte, data []byte) []byte {
	packet := make([]byte, 20)
	binary.BigEndian.PutUint16(packet, uint16(from))
	binary.BigEndian.PutUint16(packet[2:], uint16(to))
	binary.BigEndian.PutUint32(packet[4:], 1)
	packet[12], packet[13] = 5<<4, flags
	binary.BigEndian.PutUint16(packet[14:], 1024)
	packet = append(packet, data...)
	binary.BigEndian.PutUint16(packet[16:], sum(pseudo(source, destination, 6, len(packet)), packet))
	return packet
}

func icmp6(source, destination net.IP, kind byte, body []byte) []byte {
	packet := append([]byte{kind, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(packet[2:], sum(pseudo(source, destination, 58, len(packet)), packet))
	return packet
}

func icmp4(kind byte, body []byte) []byte {
	packet := append([]byte{kind, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(packet[2:], sum(packet))
	return packet
}

// extension is one IPv6 extension header whose content fills it to a multiple of eight bytes.
func extension(next byte, content []byte) []byte {
	header := append([]byte{next, 0}, content...)
	for len(header)%8 != 0 {
		header = append(header, 0)
	}
	header[1] = byte(len(header)/8 - 1)
	return header
}

// routing is a routing header of a kind that sends the packet on to `final`.
func routing(next, kind byte, final net.IP) []byte {
	content := append([]byte{kind, 1, 0, 0, 0, 0}, final...)
	return extension(next, content)
}

// fragments cuts a packet's payload in two.
func fragments(source, destination net.IP, protocol byte, payload []byte) [][]byte {
	// Behind the header of UDP, so that what names the probe stays whole.
	cut := 8
	if len(source) == 4 {
		first := ip(source, destination, protocol, nil, 0, payload[:cut])
		second := ip(source, destination, protocol, nil, 0, payload[cut:])
		for index, packet := range [][]byte{first, second} {
			binary.BigEndian.PutUint16(packet[4:], 0x4242)
			binary.BigEndian.PutUint16(packet[6:], []uint16{0x2000, uint16(cut / 8)}[index])
			packet[10], packet[11] = 0, 0
			binary.BigEndian.PutUint16(packet[10:], sum(packet[:20]))
		}
		return [][]byte{first, second}
	}
	header := func(offset int, more byte) []byte {
		fragment := []byte{protocol, 0, 0, 0, 0, 0, 0x42, 0x42}
		binary.BigEndian.PutUint16(fragment[2:], uint16(offset)|uint16(more))
		return fragment
	}
	return [][]byte{
		ip(source, destination, protocol, header(0, 1), 44, payload[:cut]),
		ip(source, destination, protocol, header(cut, 0), 44, payload[cut:]),
	}
}
