package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Order is what an attacker is told.
type Order struct {
	Token string
	Port  int
	// What must not be reached, by name.
	Targets []Target
	// Another machine of the own network, whose address may be forged.
	Friend string
	// Names that mean something in other networks only.
	Names []string
	// Abstract sockets of the host.
	Sockets []string
}

// Target is an address, and ports on it besides Order.Port that somebody listens on.
type Target struct {
	Name  string
	Ip    string
	Ports []int
}

type attacker struct {
	order   Order
	socket  int
	index   int
	mac     net.HardwareAddr
	gateway net.HardwareAddr
	own6    net.IP
	own4    net.IP
	friend  net.IP
}

const patience = 1500 * time.Millisecond

func attack(order Order) {
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		fail(err.Error())
	}
	self := &attacker{
		order: order, socket: packetSocket(allProtocols), index: device.Index, mac: device.HardwareAddr,
		friend: net.ParseIP(order.Friend),
	}
	addresses, err := device.Addrs()
	if err != nil {
		fail(err.Error())
	}
	for _, address := range addresses {
		ip := address.(*net.IPNet).IP
		if four := ip.To4(); four != nil {
			self.own4 = four
		} else if ip[0] == 0xfd {
			self.own6 = ip
		}
	}
	self.findGateway()
	go self.watch()
	var all sync.WaitGroup
	for _, target := range order.Targets {
		all.Add(1)
		go func(target Target) {
			defer all.Done()
			self.connect(target)
		}(target)
		self.send(target)
	}
	self.everywhere()
	for _, name := range order.Names {
		all.Add(1)
		go func(name string) {
			defer all.Done()
			self.ask(name)
		}(name)
	}
	self.families()
	all.Wait()
	time.Sleep(patience)
	say("DONE")
}

// findGateway learns the router's link address from an answer to a question about its own address.
func (self *attacker) findGateway() {
	question := self.arpRequest(net.IPv4(169, 254, 1, 1).To4())
	deadline := time.Now().Add(5 * time.Second)
	timeout := syscall.Timeval{Usec: 200_000}
	if err := syscall.SetsockoptTimeval(self.socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout); err != nil {
		fail(err.Error())
	}
	buffer := make([]byte, 2048)
	for time.Now().Before(deadline) {
		self.frame(question)
		length, _, err := syscall.Recvfrom(self.socket, buffer, 0)
		if err != nil || length < 42 {
			continue
		}
		isReply := binary.BigEndian.Uint16(buffer[12:14]) == 0x0806 && buffer[21] == 2
		if isReply && bytes.Equal(buffer[28:32], []byte{169, 254, 1, 1}) {
			self.gateway = append(net.HardwareAddr{}, buffer[22:28]...)
			return
		}
	}
	fail("no gateway answers")
}

func (self *attacker) arpRequest(wanted net.IP) []byte {
	return self.arp(1, self.mac, self.own4, make([]byte, 6), wanted)
}

func (self *attacker) arp(operation byte, fromMac []byte, from net.IP, toMac []byte, to net.IP) []byte {
	body := []byte{0, 1, 8, 0, 6, 4, 0, operation}
	body = append(append(append(append(body, fromMac...), from...), toMac...), to...)
	broadcast := net.HardwareAddr{255, 255, 255, 255, 255, 255}
	return ethernet(broadcast, self.mac, 0x0806, body)
}

func (self *attacker) frame(frame []byte) {
	// What the kernel refuses to send has not got out either.
	_ = syscall.Sendto(self.socket, frame, 0, &syscall.SockaddrLinklayer{Ifindex: self.index, Halen: 6})
}

func (self *attacker) packet(packet []byte) {
	kind := uint16(0x86dd)
	if packet[0]>>4 == 4 {
		kind = 0x0800
	}
	self.frame(ethernet(self.gateway, self.mac, kind, packet))
}

func (self *attacker) payload(target, probe string) []byte {
	return fmt.Appendf(nil, "%s%s %s;", self.order.Token, target, probe)
}

// connect does what any program could: connections and datagrams by ordinary sockets.
func (self *attacker) connect(target Target) {
	var all sync.WaitGroup
	host := target.Ip
	switch ip := net.ParseIP(host); {
	case ip.IsLoopback():
		// By ordinary sockets that is the machine itself.
		return
	case ip.IsLinkLocalUnicast() && ip.To4() == nil:
		host += "%eth0"
	}
	for _, port := range append([]int{self.order.Port}, target.Ports...) {
		port, address := port, net.JoinHostPort(host, fmt.Sprint(port))
		all.Add(2)
		go func() {
			defer all.Done()
			connection, err := net.DialTimeout("tcp", address, patience)
			if err == nil {
				say("FOUND %s connection to port %d", target.Name, port)
				connection.Close()
			} else if errors.Is(err, syscall.ECONNREFUSED) {
				say("FOUND %s refuses a connection to port %d", target.Name, port)
			}
		}()
		go func() {
			defer all.Done()
			connection, err := net.Dial("udp", address)
			if err != nil {
				return
			}
			defer connection.Close()
			connection.Write(self.payload(target.Name, "datagram"))
			connection.SetReadDeadline(time.Now().Add(patience))
			_, err = connection.Read(make([]byte, 1500))
			if err == nil || errors.Is(err, syscall.ECONNREFUSED) {
				say("FOUND %s answers a datagram to port %d", target.Name, port)
			}
		}()
	}
	all.Wait()
}

// send goes past the kernel's own network: forged sources, odd protocols, fragments, options, foreign frames.
func (self *attacker) send(target Target) {
	destination := net.ParseIP(target.Ip)
	own, loopback := self.own6, net.IPv6loopback
	forged := map[string]net.IP{
		"the friend": self.friend, "link-local": net.ParseIP("fe80::2"), "gateway": net.ParseIP("fe80::1"),
		"nobody": net.IPv6unspecified, "its neighbour": neighbour(destination),
	}
	if four := destination.To4(); four != nil {
		destination, own, loopback = four, self.own4, net.IPv4(127, 0, 0, 1).To4()
		forged = map[string]net.IP{
			"link-local": net.IPv4(169, 254, 9, 9).To4(), "gateway": net.IPv4(169, 254, 1, 1).To4(),
			"nobody": net.IPv4zero.To4(), "its neighbour": neighbour(four), "the world": net.IPv4(192, 0, 2, 7).To4(),
		}
	}
	forged["itself"], forged["loopback"], forged["the true one"] = destination, loopback, own
	port := self.order.Port
	for name, source := range forged {
		data := self.payload(target.Name, "datagram from "+name)
		self.packet(ip(source, destination, 17, nil, 0, udp(source, destination, port, port, data)))
		for flags, word := range map[byte]string{2: "syn", 16: "ack", 18: "syn-ack", 4: "rst", 0: "null", 41: "christmas"} {
			data := self.payload(target.Name, "tcp "+word+" from "+name)
			self.packet(ip(source, destination, 6, nil, 0, tcp(source, destination, port, port, flags, data)))
		}
		self.echo(target.Name, name, source, destination)
		// A question whose answer would go to whoever is forged.
		question := dnsQuestion(self.order.Token+"a forged question;.internal", 28)
		if len(source) == 16 {
			server := net.ParseIP("fdaa::3")
			if name == "itself" || name == "its neighbour" {
				self.packet(ip(source, server, 17, nil, 0, udp(source, server, port, 53, question)))
			}
		}
	}
	for _, protocol := range rawProtocols {
		data := self.payload(target.Name, fmt.Sprintf("protocol %d", protocol))
		self.packet(ip(own, destination, byte(protocol), nil, 0, data))
	}
	whole := udp(own, destination, port, port, self.payload(target.Name, "fragments"))
	for _, fragment := range fragments(own, destination, 17, whole) {
		self.packet(fragment)
	}
	self.options(target.Name, own, destination)
	data := self.payload(target.Name, "foreign frame")
	inner := ip(own, destination, 17, nil, 0, udp(own, destination, port, port, data))
	kind := uint16(0x86dd)
	if len(own) == 4 {
		kind = 0x0800
	}
	for _, mac := range []net.HardwareAddr{{255, 255, 255, 255, 255, 255}, {0x33, 0x33, 0, 0, 0, 1}, self.mac} {
		self.frame(ethernet(mac, self.mac, kind, inner))
	}
	tagged := binary.BigEndian.AppendUint16([]byte{0, 1}, kind)
	self.frame(ethernet(self.gateway, self.mac, 0x8100, append(tagged, inner...)))
	// Inside of packets to whom we may speak, in the hope that somebody unpacks them.
	for _, way := range []net.IP{net.IPv4(169, 254, 1, 1).To4(), net.ParseIP("fdaa::3"), self.friend} {
		source := self.own6
		if len(way) == 4 {
			source = self.own4
		}
		self.packet(ip(source, way, map[uint16]byte{0x0800: 4, 0x86dd: 41}[kind], nil, 0, inner))
		gre := binary.BigEndian.AppendUint16([]byte{0, 0}, kind)
		self.packet(ip(source, way, 47, nil, 0, append(gre, inner...)))
	}
	self.neighbours(destination)
}

func (self *attacker) echo(target, name string, source, destination net.IP) {
	data := append([]byte{0, 7, 0, 1}, self.payload(target, "echo from "+name)...)
	if len(source) == 4 {
		self.packet(ip(source, destination, 1, nil, 0, icmp4(8, data)))
		return
	}
	self.packet(ip(source, destination, 58, nil, 0, icmp6(source, destination, 128, data)))
}

// options uses headers that ask routers for a detour.
func (self *attacker) options(target string, own, destination net.IP) {
	port := self.order.Port
	if len(own) == 4 {
		gateway := net.IPv4(169, 254, 1, 1).To4()
		for kind, name := range map[byte]string{131: "loose source route", 137: "strict source route"} {
			data := self.payload(target, name)
			option := append([]byte{kind, 7, 4}, destination...)
			self.packet(ip(own, gateway, 17, append(option, 0), 0, udp(own, destination, port, port, data)))
		}
		return
	}
	plain := func(probe string) []byte { return udp(own, destination, port, port, self.payload(target, probe)) }
	hop := extension(17, []byte{1, 4, 0, 0, 0, 0})
	self.packet(ip(own, destination, 17, hop, 0, plain("hop-by-hop options")))
	self.packet(ip(own, destination, 17, hop, 60, plain("destination options")))
	for _, kind := range []byte{0, 2, 3, 4} {
		for _, way := range []net.IP{self.friend, net.ParseIP("fe80::1"), net.ParseIP("fdaa::3")} {
			probe := fmt.Sprintf("routing header %d", kind)
			self.packet(ip(own, way, 17, routing(17, kind, destination), 43, plain(probe)))
		}
	}
}

// neighbours asks for, and claims, an address on the link. Answers are seen by watch.
func (self *attacker) neighbours(address net.IP) {
	if len(address) == 4 {
		self.frame(self.arpRequest(address))
		self.frame(self.arp(1, self.mac, address, make([]byte, 6), address))
		self.frame(self.arp(2, self.mac, address, self.gateway, self.own4))
		return
	}
	all := net.ParseIP("ff02::1")
	group := net.ParseIP("ff02::1:ff00:0")
	copy(group[13:], address[13:])
	toGroup := net.HardwareAddr{0x33, 0x33, group[12], group[13], group[14], group[15]}
	link := append([]byte{1, 1}, self.mac...)
	solicit := append(append(make([]byte, 4), address...), link...)
	own := self.own6
	packet := ip(own, group, 58, nil, 0, icmp6(own, group, 135, solicit))
	packet[7] = 255
	self.frame(ethernet(toGroup, self.mac, 0x86dd, packet))
	claim := append(append([]byte{0x20, 0, 0, 0}, address...), 2, 1)
	claim = append(claim, self.mac...)
	for _, source := range []net.IP{own, address, net.ParseIP("fe80::1")} {
		packet := ip(source, all, 58, nil, 0, icmp6(source, all, 136, claim))
		packet[7] = 255
		self.packet(packet)
		redirect := append(append(make([]byte, 4), own...), address...)
		packet = ip(source, net.ParseIP("fe80::1"), 58, nil, 0, icmp6(source, net.ParseIP("fe80::1"), 137, redirect))
		packet[7] = 255
		self.packet(packet)
	}
}

// everywhere speaks to all who listen, and as a router.
func (self *attacker) everywhere() {
	port := self.order.Port
	for _, text := range []string{"ff02::1", "ff02::2", "ff02::fb", "ff05::1:3", "ff0e::1", "224.0.0.1", "224.0.0.251", "239.1.2.3", "255.255.255.255", "100.127.255.255"} {
		destination, own := net.ParseIP(text), self.own6
		if four := destination.To4(); four != nil {
			destination, own = four, self.own4
		}
		data := self.payload("everybody", "at "+text)
		self.packet(ip(own, destination, 17, nil, 0, udp(own, destination, port, port, data)))
	}
	all := net.ParseIP("ff02::1")
	for _, source := range []net.IP{net.ParseIP("fe80::1"), self.own6} {
		advertisement := make([]byte, 12)
		advertisement[2], advertisement[3] = 0xff, 0xff
		packet := ip(source, all, 58, nil, 0, icmp6(source, all, 134, advertisement))
		packet[7] = 255
		self.packet(packet)
	}
}

// watch reports answers that only an address that is not ours to see could have given.
func (self *attacker) watch() {
	buffer := make([]byte, 65536)
	seen := map[string]bool{}
	report := func(text string) {
		if !seen[text] {
			seen[text] = true
			say("FOUND %s", text)
		}
	}
	for {
		length, from, err := syscall.Recvfrom(self.socket, buffer, 0)
		if err != nil {
			continue
		}
		link, ok := from.(*syscall.SockaddrLinklayer)
		if !ok || link.Pkttype == syscall.PACKET_OUTGOING || length < 42 {
			continue
		}
		frame := buffer[:length]
		switch binary.BigEndian.Uint16(frame[12:14]) {
		case 0x0806:
			if answer := net.IP(frame[28:32]); frame[21] == 2 && !answer.Equal(net.IPv4(169, 254, 1, 1)) {
				report(fmt.Sprintf("somebody answers for %s", answer))
			}
		case 0x0800:
			if frame[23] == 1 && frame[34] == 0 {
				report("echo answered: " + probeName(frame, self.order.Token))
			}
		case 0x86dd:
			if length < 78 || frame[20] != 58 {
				continue
			}
			switch frame[54] {
			case 129:
				report("echo answered: " + probeName(frame, self.order.Token))
			case 136:
				if answer := net.IP(frame[62:78]); !answer.Equal(net.ParseIP("fe80::1")) {
					report(fmt.Sprintf("somebody answers for %s", answer))
				}
			}
		}
	}
}

// ask looks whether a name of others has anything to say.
func (self *attacker) ask(name string) {
	for _, kind := range []uint16{28, 16, 1, 12, 255} {
		connection, err := net.Dial("udp", "[fdaa::3]:53")
		if err != nil {
			fail(err.Error())
		}
		connection.SetDeadline(time.Now().Add(5 * time.Second))
		connection.Write(dnsQuestion(name, kind))
		answer := make([]byte, 4096)
		length, err := connection.Read(answer)
		connection.Close()
		if err != nil {
			say("FOUND no answer about %s: %v", name, err)
		} else if binary.BigEndian.Uint16(answer[6:8]) != 0 && length > 12 {
			say("FOUND %s is known (type %d)", name, kind)
		}
	}
}

func dnsQuestion(name string, kind uint16) []byte {
	message := []byte{0x42, 0x42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, label := range strings.Split(name, ".") {
		message = append(append(message, byte(len(label))), label...)
	}
	message = binary.BigEndian.AppendUint16(append(message, 0), kind)
	return append(message, 0, 1)
}

// families opens sockets that would reach the host past its network.
func (self *attacker) families() {
	for name, family := range map[string]int{"vsock": 40, "alg": 38} {
		if socket, err := syscall.Socket(family, syscall.SOCK_STREAM, 0); err == nil {
			say("FOUND a %s socket can be made", name)
			syscall.Close(socket)
		}
	}
	for _, name := range self.order.Sockets {
		if connection, err := net.Dial("unix", "@"+name); err == nil {
			say("FOUND abstract socket %s of the host", name)
			connection.Close()
		}
	}
}

// neighbour is an address beside another.
func neighbour(address net.IP) net.IP {
	other := append(net.IP{}, address...)
	other[len(other)-1] ^= 1
	return other
}
