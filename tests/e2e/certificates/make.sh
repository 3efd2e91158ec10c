#!/bin/sh
# Makes the certificates of this folder anew.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/ca.cnf" <<CONFIGURATION
[ca]
default_ca = tests
[tests]
database = $work/index
serial = $work/serial
new_certs_dir = $work
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
CONFIGURATION
: > "$work/index"
echo 01 > "$work/serial"

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
certificate() { # name, common name, its key, extensions, first moment, last moment, how it is signed …
    name=$1 common=$2 key=$3 first=$5 last=$6
    printf '%s\n' "$4" > "$work/extensions"
    shift 6
    openssl req -new -key "$key" -subj "/CN=$common" -out "$work/request"
    openssl ca -batch -notext -config "$work/ca.cnf" -extfile "$work/extensions" -startdate "$first" -enddate "$last" \
        -in "$work/request" -out "$name.pem" "$@"
}
from=20200101000000Z until=21260101000000Z

for root in authority stranger; do
    key "$work/$root.key"
    certificate "$root" "Fairlead tests: $root" "$work/$root.key" "basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign" $from $until -selfsign -keyfile "$work/$root.key"
done

key leaf.key
leaf() { # name, subject alternative names, last moment
    certificate "$1" "$1" leaf.key "basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = $2" $from "$3" -cert authority.pem -keyfile "$work/authority.key"
}
leaf localhost DNS:localhost,IP:127.0.0.1 $until
leaf expired DNS:localhost,IP:127.0.0.1 20200201000000Z
leaf elsewhere DNS:elsewhere.example $until
