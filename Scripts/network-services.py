#!/usr/bin/env python3
"""Shows what Roost's user network does for a Linux guest on the software engine: a line for each thing, and an exit code.

The script runs itself in namespaces of its own, where it may have an outside: a second network namespace with hosts that
answer pings, names, connections and datagrams. The host of the guest's network knows one resolver, which is there. A
guest boots three times: with all open, with a list of what it may reach, and with the host's loopback opened.
"""

import argparse
import hashlib
import os
import queue
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HOST, HOST6 = "198.51.100.1", "2001:db8:51::1"
# On the loopback interface of the host, but not of 127.0.0.0/8.
LOOPBACK_ALIAS = "192.0.2.99"
OUTSIDE, OUTSIDE6 = "198.51.100.80", "2001:db8:51::80"
OTHER = "198.51.100.81"
RESOLVER = "198.51.100.53"
NAMES = {
    ("www.outside.test", 1): [OUTSIDE],
    ("www.outside.test", 28): [OUTSIDE6],
    ("other.outside.test", 1): [OTHER],
    ("big.outside.test", 1): [f"203.0.113.{number}" for number in range(1, 101)],
}
CONTENT = random.Random(7).randbytes(2 << 20)
BOOT_FILE = random.Random(8).randbytes(100_003)


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(words)} failed: {done.stdout.strip()}")
    return done.stdout


def digest(content):
    return hashlib.sha256(content).hexdigest()


# --- The outside: what runs in the second network namespace ---

def in_thread(work, *arguments):
    threading.Thread(target=work, args=arguments, daemon=True).start()


def serve_streams(address, port, answer):
    """Calls `answer` with each connection, in a thread of its own."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=16)

    def serve(client):
        try:
            with client:
                answer(client)
        except OSError:
            pass

    def accept():
        while True:
            in_thread(serve, listener.accept()[0])

    in_thread(accept)


def serve_datagrams(address, port, answer):
    """Sends what `answer` makes of each datagram back to where it came from."""
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, port))

    def receive():
        while True:
            message, sender = server.recvfrom(65535)
            reply = answer(message)
            if reply is not None:
                server.sendto(reply, sender)

    in_thread(receive)


def receive_all(client):
    content = b""
    while piece := client.recv(1 << 16):
        content += piece
    return content


def dns_answer(question, transport, told):
    """A resolver's answer: RFC 1035. In a datagram it is cut to 512 bytes, as for a question without EDNS."""
    labels, place = [], 12
    while question[place]:
        labels.append(question[place + 1:place + 1 + question[place]].decode())
        place += 1 + question[place]
    kind = struct.unpack(">H", question[place + 1:place + 3])[0]
    name = ".".join(labels).lower()
    addresses = NAMES.get((name, kind), [])
    is_known = any(name == other for other, _ in NAMES)
    records = b"".join(
        b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 300, len(packed)) + packed
        for packed in (socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in addresses))
    asked = question[12:place + 5]
    is_cut = transport == "udp" and 12 + len(asked) + len(records) > 512
    told(f"dns {transport} {name} {kind}{' cut' if is_cut else ''}")
    flags = 0x8180 | (0x0200 if is_cut else 0) | (0 if is_known else 3)
    count = 0 if is_cut else len(addresses)
    return question[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + asked + (b"" if is_cut else records)


def be_outside():
    """Serves until standard input ends, and prints what it sees."""
    lock = threading.Lock()

    def told(line):
        with lock:
            print(line, flush=True)

    def dns_stream(client):
        while len(length := client.recv(2, socket.MSG_WAITALL)) == 2:
            question = client.recv(struct.unpack(">H", length)[0], socket.MSG_WAITALL)
            answer = dns_answer(question, "tcp", told)
            client.sendall(struct.pack(">H", len(answer)) + answer)

    def take_upload(client):
        content = receive_all(client)
        told(f"upload {client.getsockname()[0]} {digest(content)}")
        client.sendall(b"%d\n" % len(content))

    def echo(message):
        told(f"datagram {len(message)}")
        return message

    def send_content(client):
        told(f"download {client.getsockname()[0]}")
        client.sendall(CONTENT)
        client.shutdown(socket.SHUT_WR)
        receive_all(client)

    # The addresses are not there before.
    sys.stdin.readline()
    serve_datagrams(RESOLVER, 53, lambda question: dns_answer(question, "udp", told))
    serve_streams(RESOLVER, 53, dns_stream)
    for address in (OUTSIDE, OUTSIDE6, OTHER):
        serve_streams(address, 7001, send_content)
        serve_streams(address, 7002, take_upload)
        serve_datagrams(address, 7007, echo)
    told("ready")
    for line in sys.stdin:
        # What the host behind the network publishes is called from here.
        address, port = line.split()
        with socket.create_connection((address, int(port)), timeout=10) as caller:
            caller.sendall(b"from outside\n")
            told(f"called {caller.recv(100).decode().strip()}")


# --- The host: namespaces, resolver, and the programs that the guest must not reach ---

class Outside:
    """The second network namespace, and what is seen there."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["unshare", "--net", sys.executable, os.path.abspath(__file__), "--outside"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seen = []
        self.lines = queue.Queue()
        # It is in its namespace once it is another program than this one.
        while os.readlink(f"/proc/{self.process.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)

    def start(self):
        in_thread(self.listen)
        self.process.stdin.write("begin\n")
        self.process.stdin.flush()
        if self.wait("ready") is None:
            sys.exit("error: the hosts of the outside did not start")

    def listen(self):
        for line in self.process.stdout:
            self.seen.append(line.strip())
            self.lines.put(line.strip())

    def wait(self, word, seconds=10):
        """The next line that begins so; `None`: there is none."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if line.startswith(word):
                return line

    def call(self, address, port):
        self.process.stdin.write(f"{address} {port}\n")
        self.process.stdin.flush()
        return self.wait("called")


def make_network(folder):
    """Addresses, routes, sysctls and the resolver's name; answers the outside."""
    outside = Outside()
    peer = str(outside.process.pid)

    def inside(*words):
        run("nsenter", "--target", peer, "--net", *words)

    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", LOOPBACK_ALIAS + "/32", "dev", "lo")
    run("ip", "link", "add", "host0", "type", "veth", "peer", "name", "out0", "netns", peer)
    for address in (HOST + "/24", HOST6 + "/64"):
        run("ip", "address", "add", address, "dev", "host0", *(["nodad"] if ":" in address else []))
    run("ip", "link", "set", "host0", "up")
    inside("ip", "link", "set", "lo", "up")
    for address in (OUTSIDE, OTHER, RESOLVER):
        inside("ip", "address", "add", address + "/24", "dev", "out0")
    inside("ip", "address", "add", OUTSIDE6 + "/64", "dev", "out0", "nodad")
    inside("ip", "link", "set", "out0", "up")
    # Ping sockets for everybody here.
    with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as file:
        file.write("0 0\n")
    resolver = os.path.join(folder, "resolv.conf")
    with open(resolver, "w", encoding="ascii") as file:
        file.write(f"nameserver {RESOLVER}\n")
    run("mount", "--bind", resolver, os.path.realpath("/etc/resolv.conf"))
    # Addresses of version 6 cannot be bound before their links are up.
    for _ in range(100):
        if "LOWER_UP" in run("ip", "link", "show", "host0"):
            break
        time.sleep(0.05)
    return outside


class Loopback:
    """Programs on the host's loopback that trust whoever reaches them."""

    def __init__(self):
        self.calls = []
        for address in ("127.0.0.1", "::1", LOOPBACK_ALIAS):
            serve_streams(address, 9000, self.answer)
        for address in ("127.0.0.1", "::1"):
            serve_datagrams(address, 9000, self.echo)

    def answer(self, client):
        self.calls.append("TCP")
        client.sendall(b"of the loopback\n")

    def echo(self, message):
        self.calls.append("UDP")
        return message


# --- Guests, and what is looked at ---

class Report:
    def __init__(self):
        self.shown = self.failed = 0

    def expect(self, name, is_right, detail=""):
        self.shown += 1
        self.failed += not is_right
        print(f"{'ok    ' if is_right else 'FAILED'}  {name}{': ' + detail if detail else ''}", flush=True)


class Guest:
    """One boot; the guest's own lines are reported as they come."""

    def __init__(self, options, report, test, network, *arguments):
        self.report, self.test = report, test
        self.text = ""
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            [options.roost, "run", "--kernel", options.kernel, "--initrd", options.initrd, "--cpus", str(options.cpus),
             "--memory", "256M", "--engine", options.engine,
             "--cmdline", f"console=ttyS0 quiet cryptomgr.notests no_timer_check roost.test={test}",
             "--net", network, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        in_thread(self.listen)

    def listen(self):
        for line in self.process.stdout:
            line = line.decode(errors="replace").strip()
            self.text += line + "\n"
            if found := re.search(rf"ROOST-TEST: {self.test} (.*) is (right|wrong: .*)$", line):
                self.report.expect(found[1], found[2] == "right", "" if found[2] == "right" else found[2])
            self.lines.put(line)
        self.lines.put(None)

    def wait(self, pattern, seconds):
        """The next line in which the pattern is; `None`: the guest ended, or took too long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if line is None:
                return None
            if found := re.search(pattern, line):
                return found

    def end(self, seconds):
        found = self.wait(rf"ROOST-TEST: {self.test} ends with status (\d+)", seconds)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "none"
        is_right = found is not None and found[1] == "0" and code == 0 and "Call Trace" not in self.text
        self.report.expect(f"the guest of {self.test} came to its end", is_right, "" if is_right else f"exit code {code}")
        if not is_right:
            print(self.text[-4000:])


def echo_by_stream(address, port):
    """What a megabyte becomes that goes through a published port to a program which sends it back."""
    sent = CONTENT[:1 << 20]
    with socket.create_connection((address, port), timeout=30) as caller:
        def send():
            caller.sendall(sent)
            caller.shutdown(socket.SHUT_WR)
        in_thread(send)
        return receive_all(caller) == sent


def ask_by_datagram(address, port):
    caller = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    caller.settimeout(2)
    caller.connect((address, port))
    for _ in range(5):
        caller.send(b"a word\n")
        try:
            return caller.recv(100).decode().strip()
        except TimeoutError:
            pass
    return None


def look_at_capture(report, path):
    """What passed the cable, as another program reads it."""
    def tshark(*words):
        done = subprocess.run(["tshark", "-r", path, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.returncode, done.stdout.splitlines()

    if shutil.which("capinfos"):
        done = subprocess.run(["capinfos", "-M", "-c", "-E", "-t", path], stdout=subprocess.PIPE, text=True)
        text = " ".join(done.stdout.split())
        report.expect("capture, by capinfos", done.returncode == 0 and "type: pcapng" in text and "encapsulation: ether" in text,
                      (re.search(r"Number of packets: ?(\d+)", text) or [""])[0])
    if shutil.which("tshark"):
        code, lines = tshark()
        report.expect("capture, read to its end by tshark", code == 0 and len(lines) > 1000, f"{len(lines)} packets")
        for name, words in [
            ("DHCPv4", "dhcp.option.dhcp == 5"), ("DHCPv6", "dhcpv6.msgtype == 7"),
            ("router advertisement", "icmpv6.type == 134"), ("DNS by TCP", "tcp.port == 53 && dns.count.answers == 100"),
            ("cut DNS answer", "dns.flags.truncated == 1 && udp"), ("ping", "icmp.type == 0"),
            ("fragments", "ip.flags.mf == 1"),
            ("TFTP with block and transfer size",
             'tftp.opcode == 6 && tftp.option.name == "blksize" && tftp.option.name == "tsize"'),
        ]:
            _, lines = tshark("-Y", words)
            report.expect(f"capture, {name}", len(lines) > 0, f"{len(lines)} packets")
        _, lines = tshark("-o", "ip.check_checksum:TRUE", "-Y", "_ws.malformed || ip.checksum.status == 0")
        report.expect("capture, nothing malformed", not lines, lines[0] if lines else "")
    if not shutil.which("capinfos") or not shutil.which("tshark"):
        print("        the capture is not looked at by tshark and capinfos, which are not installed")


def show_open(options, report, outside, loopback, folder):
    """All that the network offers."""
    capture = os.path.join(folder, "capture.pcapng")
    tftp = os.path.join(folder, "tftp")
    os.mkdir(tftp)
    with open(os.path.join(tftp, "boot.img"), "wb") as file:
        file.write(BOOT_FILE)
    guest = Guest(
        options, report, "services", f"user,hostname=guest,tftp={tftp},bootfile=boot.img,capture={capture}",
        "--publish", "18080:8080", "--publish", "[::1]:18080:8080", "--publish", f"{HOST}:18080:8080",
        "--publish", f"[{HOST6}]:18080:8080", "--publish", "18081:8081/udp", "--publish", "18082:8082")
    listens = guest.wait("services listens", options.limit) is not None
    report.expect("the guest got through its own tests", listens)
    if listens:
        for address in ("127.0.0.1", "::1"):
            report.expect(f"TCP forward from {address}, 1 MiB there and back", echo_by_stream(address, 18080))
        for address in (HOST, HOST6):
            heard = outside.call(address, 18080)
            report.expect(f"TCP forward from outside to {address}", heard == "called from outside", str(heard))
        heard = ask_by_datagram("127.0.0.1", 18081)
        report.expect("UDP forward and back", heard == "the guest heard a word", str(heard))
        # The guest goes on when it is told.
        with socket.create_connection(("127.0.0.1", 18082), timeout=10) as caller:
            caller.sendall(b"end\n")
    guest.end(options.limit)

    for address in (OUTSIDE, OUTSIDE6):
        found = re.search(rf"downloaded from {re.escape(address)} (\w+)", guest.text)
        report.expect(f"TCP download of 2 MiB from {address}", found is not None and found[1] == digest(CONTENT))
        report.expect(f"TCP upload of 2 MiB came to {address}", f"upload {address} {digest(CONTENT)}" in outside.seen)
    found = re.search(r"services fetched (\w+)", guest.text)
    report.expect("TFTP of the file that DHCP named", found is not None and found[1] == digest(BOOT_FILE))
    report.expect("the resolver cut an answer, and was asked by TCP",
                  {"dns udp big.outside.test 1 cut", "dns tcp big.outside.test 1"} <= set(outside.seen))
    report.expect("datagrams came whole", outside.seen.count("datagram 4000") == 2)
    report.expect("nobody came to the host's loopback", not loopback.calls, " ".join(loopback.calls))
    look_at_capture(report, capture)


def show_listed(options, report, outside):
    """A list of what may be reached."""
    begin = len(outside.seen)
    guest = Guest(options, report, "services-listed", "user,allow=www.outside.test:7001")
    guest.end(options.limit)
    seen = outside.seen[begin:]
    report.expect("the outside heard of what is on the list only",
                  set(seen) == {"dns udp www.outside.test 1", f"download {OUTSIDE}"}, "; ".join(sorted(set(seen))))


def show_loopback(options, report, loopback):
    """The host's loopback, opened."""
    guest = Guest(options, report, "services-loopback", "user,host-loopback=on")
    guest.end(options.limit)
    report.expect("the loopback's programs were called", sorted(loopback.calls) == ["TCP", "TCP", "UDP", "UDP"],
                  " ".join(loopback.calls))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", help="the roost command")
    parser.add_argument("--kernel")
    parser.add_argument("--initrd", help="network.cpio, which Scripts/network-initramfs.sh makes")
    parser.add_argument("--engine", default="software", help="which runs the guests (software)")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120, help="seconds that a guest may take for one thing (120)")
    parser.add_argument("--keep", help="a folder that takes the capture")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--outside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.outside:
        return be_outside()
    if not (options.roost and options.kernel and options.initrd):
        parser.error("--roost, --kernel and --initrd are needed: Scripts/network-services.sh gives them")
    if not options.inside:
        words = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
        if subprocess.run([*words, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            sys.exit("error: this host gives no namespaces to its users: set kernel.unprivileged_userns_clone and "
                     "user.max_user_namespaces, or run as root where they are allowed.")
        os.execvp(words[0], [*words, sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--inside"])

    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        outside = make_network(folder)
        outside.start()
        loopback = Loopback()
        try:
            show_open(options, report, outside, loopback, folder)
            loopback.calls.clear()
            show_listed(options, report, outside)
            show_loopback(options, report, loopback)
        finally:
            outside.process.kill()
            if options.keep:
                shutil.copy(os.path.join(folder, "capture.pcapng"), options.keep)
    print(f"{report.shown - report.failed} of {report.shown} things were shown")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
