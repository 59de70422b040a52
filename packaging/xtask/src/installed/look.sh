# Runs in a booted container: see booted.rs.
exec >/opt/seen 2>&1

# Waits until a command succeeds, for twenty seconds.
within() {
	for _ in $(seq 200); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	return 1
}
property() { systemctl show --property="$1" --value gatemq; }
of_process() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(property MainPID)/status"; }
is_another() { [ "$(property MainPID)" != "$1" ] && [ "$(property ActiveState)" = active ]; }

within systemctl is-active gatemq
echo "started: $(systemctl is-active gatemq)"
echo "capabilities: $(of_process CapBnd)"
echo "system calls: $(of_process Seccomp)"
echo "files: $(property LimitNOFILE)"
echo "core dumps: $(property LimitCORE)"
gatemq plugin list | while read -r name _ _ health _; do echo "plugin $name: $health"; done
within grep -q NodeStarted /var/log/gatemq/events.json && echo "events: NodeStarted"
echo "address: $(grep -o '127.0.0.1:1883' /var/log/gatemq/events.json | head -n 1)"
systemctl reload gatemq
echo "reload: $?"
echo 'wrong = 1' >/etc/gatemq/conf.d/wrong.toml
systemctl reload gatemq || echo "reload of what is wrong: refused"
rm /etc/gatemq/conf.d/wrong.toml
killed=$(property MainPID)
kill -s KILL "$killed"
within is_another "$killed" && echo "killed: $(systemctl is-active gatemq) again"
running=$(property MainPID)
dpkg --force-confold --install /opt/second.deb
within is_another "$running" && echo "upgraded: $(systemctl is-active gatemq) again"
dpkg --remove gatemq
echo "removed: $(systemctl is-active gatemq)"
dpkg --install /opt/second.deb
within systemctl is-active gatemq
echo "installed again: $(systemctl is-active gatemq)"
systemctl stop gatemq
echo "stopped: $(property Result)"
journalctl --unit=gatemq --no-pager --output=cat
