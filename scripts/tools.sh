#!/bin/sh
# Installs the servers that the tests start, where it can. What is missing
# afterwards is skipped by the tests with one line, or fails them with CI=true.
set -u

missing=""
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v redis-sentinel >/dev/null || missing="$missing redis-sentinel"
command -v memcached >/dev/null || missing="$missing memcached"
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx"
command -v javac >/dev/null || missing="$missing default-jdk-headless"
command -v mvn >/dev/null || missing="$missing maven"
command -v promtool >/dev/null || missing="$missing prometheus prometheus-node-exporter-"
command -v python3 >/dev/null || missing="$missing python3 python3-venv"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "tools: not found:$missing; install them for the tests that need them" >&2
	exit 0
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		echo "tools: not found:$missing; install them for the tests that need them" >&2
		exit 0
	fi
	sudo="sudo -n"
fi
# A policy of 101 keeps the packages from starting their servers.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null && $sudo chmod +x "$policy" && made=1
fi
$sudo env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && apt-get install -y -qq $missing" >/dev/null ||
	echo "tools: could not install:$missing" >&2
[ -z "$made" ] || $sudo rm -f "$policy"
