/// What goes into a Debian disk, and how Debian's own tools are told to make it.
///
/// mmdebstrap installs the packages into a folder, from Debian's archive, whose signatures it checks. It runs as root
/// of a user namespace of its own unless the user is root, so that nobody needs privileges. A script of ours then
/// adjusts the system and packs it into an ext4 file system inside the disk's file.
struct DebianRecipe: Equatable {
  var suite = "bookworm"
  var mirror = "http://deb.debian.org/debian"
  var securityMirror = "http://deb.debian.org/debian-security"
  var kernel = "linux-image-amd64"
  var extraPackages: [String] = []

  static let label = "root"

  /// What makes a system of it that people expect: a network, a way in, a package manager.
  static let packages = [
    "apt", "bash-completion", "ca-certificates", "cloud-init", "curl", "dbus", "e2fsprogs",
    "initramfs-tools", "iproute2", "iputils-ping", "kmod", "less", "libnss-resolve",
    "libpam-systemd", "locales", "login", "nano", "netbase", "openssh-server", "passwd", "pciutils",
    "procps", "sudo", "systemd-resolved", "systemd-sysv", "systemd-timesyncd", "udev", "zstd",
  ]

  /// The lines of `sources.list`.
  var sources: [String] {
    [
      "deb \(mirror) \(suite) main",
      "deb \(mirror) \(suite)-updates main",
      "deb \(securityMirror) \(suite)-security main",
    ]
  }

  /// Arguments for mmdebstrap, which installs everything and then runs `script` with the folder it made.
  func arguments(script: String) -> [String] {
    [
      "--mode=root", "--variant=minbase", "--format=null",
      "--aptopt=APT::Install-Recommends \"false\"",
      "--include=\(([kernel] + Self.packages + extraPackages).joined(separator: ","))",
      "--essential-hook=\(script) prepare \"$1\"",
      "--customize-hook=\(script) finish \"$1\"",
      suite, "-",
    ] + sources
  }

  /// The script that mmdebstrap runs, twice. `disk` and the two others are files that exist or may be made.
  ///
  /// - Parameters:
  ///   - offset: where in the disk the file system begins, in bytes.
  ///   - blocks: how long it is, in blocks of 4 KiB.
  func script(
    disk: String, offset: UInt64, blocks: UInt64, kernel: String, initrd: String
  ) -> String {
    """
    #!/bin/sh
    # Called with a step's name and the folder that holds the new system.
    set -eu
    root=$2

    # Before the kernel is installed: its first file system holds the drivers of virtual machines' disks, and no others.
    prepare() {
        mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/usr/share/initramfs-tools/modules.d"
        echo 'MODULES=list' > "$root/etc/initramfs-tools/conf.d/virtual-machine"
        for module in virtio_pci virtio_mmio virtio_blk virtio_scsi nvme ahci sd_mod ext4; do
            echo "$module"
        done > "$root/usr/share/initramfs-tools/modules.d/virtual-machine"
    }

    finish() {
        echo 'LABEL=\(Self.label) / ext4 errors=remount-ro,discard 0 1' > "$root/etc/fstab"
        echo '127.0.0.1 localhost' > "$root/etc/hosts"
        echo '::1 localhost ip6-localhost ip6-loopback' >> "$root/etc/hosts"
        echo 'debian' > "$root/etc/hostname"
        # A machine-id of its own comes at the first boot.
        : > "$root/etc/machine-id"
        rm -f "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_*_key*

        cat > "$root/etc/systemd/network/80-ethernet.network" <<'EOF'
    [Match]
    Type=ether

    [Network]
    DHCP=yes
    EOF
        # A machine without a network card is online as it is.
        mkdir -p "$root/etc/systemd/system/systemd-networkd-wait-online.service.d"
        cat > "$root/etc/systemd/system/systemd-networkd-wait-online.service.d/cards.conf" <<'EOF'
    [Unit]
    ConditionPathExistsGlob=/sys/class/net/e*
    EOF
        # Who the guest is comes from the seed; its network is above, its disk has its size, its keys are modern.
        cat > "$root/etc/cloud/cloud.cfg.d/90-virtual-machine.cfg" <<'EOF'
    datasource_list: [ NoCloud, None ]
    network: { config: disabled }
    ssh_genkeytypes: [ ed25519 ]
    apt_preserve_sources_list: true
    cloud_init_modules: [ set_hostname, update_hostname, update_etc_hosts, users-groups, ssh ]
    cloud_config_modules: [ set-passwords ]
    cloud_final_modules: [ write-files, runcmd, scripts-user, final-message ]
    EOF
        chroot "$root" systemctl -q enable systemd-networkd systemd-resolved
        chroot "$root" systemctl -q disable apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service

        cat "$root"/boot/vmlinuz-* > "\(kernel)"
        cat "$root"/boot/initrd.img-* > "\(initrd)"
        # What is mounted below the folder for the installation is no part of the system.
        unshare --mount sh -eu -c '
            for place in dev/pts dev/shm proc sys dev; do umount -lR "$1/$place" 2>/dev/null || true; done
            for node in "$1"/dev/*; do [ -d "$node" ] || umount -l "$node" 2>/dev/null || true; done
            mke2fs -q -F -t ext4 -L \(Self.label) -b 4096 -E offset=\(offset),lazy_itable_init=0,lazy_journal_init=0 \\
                -d "$1" "\(disk)" \(blocks)
        ' sh "$root" >&2
    }

    "$1"
    """
  }
}
