#!/usr/bin/env bash
# run.sh: from a fresh clone to a report.  Sets up, builds, fetches model and texts, runs the experiment, writes the report.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./run.sh [CONFIG] [key=value ..]    set up, build, fetch model and texts, run the experiment, write the report
       ./run.sh --setup[=test|=dev]        only install what is missing: to run; also to test; also to lint
       ./run.sh --help

CONFIG     an experiment (default: configs/quickstart.yaml)
key=value  overrides a key of it, as in decode.tokens=128 or lanes.resa.interval=[16,32]

What it leaves: results/NAME/ with report.html, index.csv, tables/, plots/ and the traces, runs/*.h5.
What is missing is installed with apt-get, as root or through sudo; with all in place, nothing is installed or said.
Run again, it skips what is complete; after Ctrl-C it goes on where it stopped.
Exit status: 0 all done, 1 something failed, 2 wrong command line or config, 130 interrupted.
END
}

say() { printf 'run.sh: %s\n' "$*" >&2; }

die() { # die STATUS MESSAGE
    local status=$1
    shift
    say "$*"
    exit "$status"
}

# Debian package and, for other systems, how to tell that the thing is there: a command, a pkg-config module (pc:) or
# nothing (-).
packages_run="
gcc               gcc
make              make
pkg-config        pkg-config
libc6-dev         -
libhdf5-dev       pc:hdf5
zlib1g-dev        pc:zlib
libgsl-dev        pc:gsl
libyaml-dev       pc:yaml-0.1
libpcre2-dev      pc:libpcre2-8
libjansson-dev    pc:jansson
libutf8proc-dev   pc:libutf8proc
nettle-dev        pc:nettle
libzip-dev        pc:libzip
gnuplot-nox       gnuplot
fonts-dejavu-core -
python3-pip       pip3
"
packages_test="
libcmocka-dev     pc:cmocka
hdf5-tools        h5dump
python3-h5py      -
python3-xarray    -
python3-h5netcdf  -
python3-netcdf4   -
python3-pandas    -
"
packages_dev="
clang-tidy        clang-tidy
clang-format      clang-format
shellcheck        shellcheck
"

# missing PACKAGES: the names of those that are not installed, one a line.
missing() {
    local package probe
    while read -r package probe; do
        [ -n "$package" ] || continue
        if command -v dpkg-query > /dev/null; then
            [ "$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2> /dev/null | head -n 1)" = installed ] && continue
        else
            case $probe in
                -) continue ;;
                pc:*) pkg-config --exists "${probe#pc:}" 2> /dev/null && continue ;;
                *) command -v "$probe" > /dev/null && continue ;;
            esac
        fi
        printf '%s\n' "$package"
    done <<< "$1"
}

setup() { # setup PACKAGES
    local list as_root=() log
    # nvcc compiles its host code with g++.
    list=$(missing "$1$(command -v nvcc > /dev/null && echo 'g++ g++')")
    [ -n "$list" ] || return 0
    list=$(tr '\n' ' ' <<< "$list")
    list=${list% }
    if ! command -v apt-get > /dev/null; then
        say "missing, by their Debian names: $list"
        die 1 "this is not Debian or Ubuntu: please install their like by hand, and start again"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo > /dev/null ||
            die 1 "missing: $list. Neither root nor sudo here: have them installed with: apt-get install $list"
        as_root=(sudo)
    fi
    say "installing with ${as_root[*]:+sudo }apt-get: $list"
    log=$(mktemp)
    # An old list of packages is tried too: without a network the packages may lie in apt's cache.
    "${as_root[@]}" apt-get -q update > "$log" 2>&1 || true
    # shellcheck disable=SC2086  # a list of words
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends $list >> "$log" 2>&1 < /dev/null; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die 1 "apt-get could not install: $list"
    fi
    rm -f "$log"
}

# The config as the program will find it from the root: a path of the caller's, or one of the project's own.
config_path() {
    local path=$1
    if [ -f "$path" ]; then
        path=$(cd "$(dirname "$path")" && pwd -P)/$(basename "$path")
        printf '%s\n' "${path#"$root"/}"
    elif [ -f "$root/$path" ]; then
        printf '%s\n' "$path"
    else
        say "no such config: $path; the project's own:"
        (cd "$root" && ls configs/*.yaml >&2) || true
        exit 2
    fi
}

build() {
    # A first build takes a minute; one with nothing to do says nothing.
    make -q all > /dev/null 2>&1 || say "building"
    make -s -j "$(nproc 2> /dev/null || echo 2)" all || die 1 "the build failed"
}

main() {
    local config='' out status=0 results file
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
    case ${1-} in
        -h | --help) usage; return 0 ;;
        --setup | --setup=run | --setup=test | --setup=dev)
            [ $# -eq 1 ] || die 2 "$1 takes no further arguments; see --help"
            local list=$packages_run
            case $1 in
                *=test) list+=$packages_test ;;
                *=dev) list+=$packages_test$packages_dev ;;
            esac
            setup "$list"
            return 0
            ;;
        -*) die 2 "unknown option: $1; see --help" ;;
        '') ;;
        *)
            if [ -f "$1" ] || [[ $1 != *=* ]]; then
                config=$1
                shift
            fi
            ;;
    esac
    for file in "$@"; do
        [[ $file == *=* ]] || die 2 "not of the form key=value: $file; see --help"
    done
    if [ -n "$config" ]; then config=$(config_path "$config"); else config=configs/quickstart.yaml; fi

    setup "$packages_run"
    cd "$root"
    build
    local resa
    resa=$(make -s where)

    "$resa" fetch "$config" "$@" || status=$?
    if [ "$status" -eq 1 ]; then say "without a network or a model, configs/smoke.yaml runs all the same"; fi
    [ "$status" -eq 0 ] || return "$status"

    out=$(mktemp)
    # Progress is on stderr; stdout says where the results are.  Ctrl-C is for the program, which says how to go on, and
    # its status is then this script's.
    "$resa" run "$config" "$@" > "$out" || status=$?
    grep -v '^results: ' "$out" || true
    results=$(sed -n 's/^results: //p' "$out" | tail -n 1)
    rm -f "$out"
    [ "$status" -eq 0 ] || return "$status"
    [ -n "$results" ] || die 1 "$resa run did not say where its results are"

    "$resa" report "$results" || return $?
    echo
    results=$(cd "$results" && pwd -P)
    echo "results: $results"
    for file in report.html index.csv tables plots runs; do
        if [ -e "$results/$file" ]; then printf '%-12s %s\n' "$file" "$results/$file"; fi
    done
}

main "$@"
