# What makes images of packages: sourced by the scripts beside it, which then say `debian SUITE`, `layer`, `image`, `pack`.
#
# An image is some layers over one Debian, under the name that Dockerfiles use. In place of Debian's package sources it has
# one in /srv/apt with the packages the Dockerfiles install, so that a build needs no network.
sources=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
output=$(readlink -m "$1")
mkdir -p "$(dirname "$output")"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/mayfly-images.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root layout=$work/layout
mkdir -p "$layout/blobs/sha256"
case $(uname -m) in aarch64) architecture=arm64 ;; *) architecture=amd64 ;; esac
path='/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
say() { printf '%s\n' "$*" >&2; }

# A Debian of this suite in $root, and its lists of packages for `fetch`.
debian() {
    say "Making a Debian $1"
    mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        "$1" "$root" http://deb.debian.org/debian
    apt "$work/none" update
    cp "$root/etc/passwd" "$root/etc/group" "$work/"
}
apt() { # folder of packages, words of apt-get
    mkdir -p "$1/partial"
    apt-get -q -y -o Dir="$root" -o Dir::State::status="$root/var/lib/dpkg/status" -o Dir::Cache::archives="$1" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Install-Recommends=false -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Dpkg::Use-Pty=0 "${@:2}" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 3; }
}
# Packages with what they need beyond that Debian, as files.
fetch() { # folder, package…
    apt "$1" --download-only install "${@:2}"
}
# The package source in /srv/apt of a directory, of the packages in folders.
package_source() { # directory, folder…
    local package place=$1/srv/apt
    mkdir -p "$place" "$1/etc/apt"
    for package in "${@:2}"; do cp "$package"/*.deb "$place/"; done
    (
        cd "$place"
        for package in *.deb; do
            dpkg-deb -f "$package"
            printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$package" "$(stat -c %s "$package")" "$(sha256sum <"$package" | cut -d' ' -f1)"
        done >Packages
    )
    echo 'deb [trusted=yes] file:/srv/apt ./' >"$1/etc/apt/sources.list"
}

# Layers and images of the layout.
declare -A digests sizes contents
blob() { # file → its digest
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    mv "$1" "$layout/blobs/sha256/$digest"
    echo "$digest"
}
layer() { # name, directory
    tar -c -f "$work/$1.layer" -C "$2" --sort=name --mtime=@0 --numeric-owner --exclude='./dev/*' .
    contents[$1]=$(sha256sum "$work/$1.layer" | cut -d' ' -f1)
    zstd -q -3 -T0 --rm "$work/$1.layer" -o "$work/$1.zst"
    sizes[$1]=$(stat -c %s "$work/$1.zst")
    digests[$1]=$(blob "$work/$1.zst")
    rm -rf "$2"
}
image() { # name, configuration, layer…
    local name=$1 config=$2 ids='' history='' descriptors='' each size digest
    shift 2
    for each in "$@"; do
        ids+=",\"sha256:${contents[$each]}\""
        history+=",{\"created_by\":\"$each\"}"
        descriptors+=",{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+zstd\",\"digest\":\"sha256:${digests[$each]}\",\"size\":${sizes[$each]}}"
    done
    printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]},"history":[%s]}' \
        "$architecture" "$config" "${ids#,}" "${history#,}" >"$work/config"
    size=$(stat -c %s "$work/config") digest=$(blob "$work/config")
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
        "$digest" "$size" "${descriptors#,}" >"$work/manifest"
    size=$(stat -c %s "$work/manifest") digest=$(blob "$work/manifest")
    printf '%s{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}' \
        "$([ ! -e "$work/index" ] || echo ,)" "$digest" "$size" "$name" >>"$work/index"
}
# Unpacks packages as a merged /usr has them, without what only people read.
unpack() { # folder of packages, directory
    local package folder
    mkdir -p "$2"
    for package in "$1"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$2" --no-same-owner \
            --transform 'flags=rSh;s,^\./\(bin\|sbin\|lib\|lib64\)/,./usr/\1/,' \
            --exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/locale*' \
            --exclude='./usr/lib/*/libasan*' --exclude='./usr/lib/*/libtsan*' --exclude='./usr/lib/gcc/*/*/lib*san*' \
            --exclude='./usr/share/go-*/test' --exclude='./usr/share/go-*/src/*_test.go' --exclude='./usr/lib/go-*/pkg/*_race'
    done
    # In that Debian they are links.
    for folder in bin sbin lib lib64; do
        [ ! -e "$2/$folder" ] || rmdir "$2/$folder"
    done
}
accounts() { # directory, name
    mkdir -p "$1/etc"
    { cat "$work/passwd"; echo "$2:x:1000:1000::/home/$2:/bin/bash"; } >"$1/etc/passwd"
    { cat "$work/group"; echo "$2:x:1000:"; } >"$1/etc/group"
    install -d -m 755 -o 1000 -g 1000 "$1/home/$2"
}
# All images, as one archive at $output.
pack() {
    printf '{"schemaVersion":2,"manifests":[%s]}' "$(cat "$work/index")" >"$layout/index.json"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    say 'Packing the images'
    tar -c -f "$output.new" -C "$layout" --sort=name .
    mv "$output.new" "$output"
}
