#!/usr/bin/env bash
# Installs the servers that the tests run Aquifer against, each at one version, into servers/ below
# the build's target folder, or into the folder that AQUIFER_SERVERS names. Prints a line a server;
# what was installed before is left as it is. Fails if one of them could not be installed.
set -euo pipefail
tests=$(cd "$(dirname "$0")" && pwd)

azurite_version=3.35.0 # the newest that Node.js 20 runs
gcs_version=v1.56.1
hadoop_version=3.4.2 # as in hdfs/pom.xml
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c # its releases have names that Go takes for none
s3s_version=0.14.1 # the newest that Rust 1.92 builds

servers=${AQUIFER_SERVERS:-}
if [ -z "$servers" ]; then
    # Where cargo builds, which CARGO_TARGET_DIR and cargo's configuration may change.
    servers=$(cargo metadata --manifest-path "$tests/../../Cargo.toml" --format-version 1 --no-deps |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/servers
fi
mkdir -p "$servers/bin"
servers=$(cd "$servers" && pwd)
# One at a time: the others find it done.
exec 9>"$servers/lock"
flock 9
scratch=
trap 'rm -rf "$scratch"' EXIT

# What installs each, from an empty folder.
azurite() {
    npm install --prefix "$PWD" --no-audit --no-fund "azurite@$azurite_version"
    rm -rf "$servers/azurite"
    mv "$PWD" "$servers/azurite"
}

fake-gcs-server() {
    go_install "github.com/fsouza/fake-gcs-server@$gcs_version"
}

hdfs() {
    mvn --batch-mode --no-transfer-progress --file "$tests/hdfs/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DoutputDirectory="$PWD/lib"
    javac -cp 'lib/*' -d classes "$tests/hdfs/HdfsServer.java"
    rm -rf "$servers/hdfs"
    mv "$PWD" "$servers/hdfs"
}

minio() {
    go_install "github.com/minio/minio@$minio_version"
}

s3s-fs() {
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install s3s-fs --version "$s3s_version" --locked \
        --features binary --root "$servers" --target-dir "$PWD" --no-track --force
}

go_install() {
    CGO_ENABLED=0 GOBIN="$servers/bin" go install -trimpath -ldflags='-s -w' "$1"
}

failures=0

# install NAME VERSION TOOL...: unless that version is there.
install() {
    local name=$1 version=$2 tool
    shift 2
    if [ "$(cat "$servers/$name.version" 2>/dev/null)" = "$version" ]; then
        echo "$name: installed, $version"
        return
    fi
    failures=$((failures + 1))
    for tool in "$@"; do
        if ! command -v "$tool" >/dev/null; then
            echo "$name: not installable because $tool is missing"
            return
        fi
    done
    rm -f "$servers/$name.version"
    scratch=$(mktemp -d "$servers/building.XXXXXX")
    # In the background, for `set -e` counts for nothing below an `if`.
    (cd "$scratch" && set -e && "$name") >"$servers/$name.log" 2>&1 &
    if wait $!; then
        echo "$version" >"$servers/$name.version"
        echo "$name: installed, $version, in $SECONDS s"
        failures=$((failures - 1))
    else
        echo "$name: not installable, see $servers/$name.log, which ends in"
        tail -n 5 "$servers/$name.log" | sed 's/^/    /'
    fi
    rm -rf "$scratch"
}

hdfs_sources=$(cat "$tests/hdfs/pom.xml" "$tests/hdfs/HdfsServer.java" | cksum | cut -d ' ' -f 1)
install azurite "$azurite_version" node npm
install fake-gcs-server "$gcs_version" go
install hdfs "$hadoop_version-$hdfs_sources" java javac mvn
install minio "$minio_version" go
install s3s-fs "$s3s_version" cargo
exit $((failures > 0))
