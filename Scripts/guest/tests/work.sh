# A little of everything that user space does, with results that are known.
. /etc/roost/expect.sh

expect sha256 bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8 \
    "$(head -c 4194304 /dev/zero | sha256sum | cut -d ' ' -f 1)"
expect md5 "$(seq 1 20000 | md5sum)" "$(seq 1 20000 | gzip -c | gunzip -c | md5sum)"
expect floating 1.644834 "$(awk 'BEGIN { for (i = 1; i <= 10000; i++) s += 1 / (i * i); printf "%.6f", s }')"
expect sort "1 20000" "$(seq 20000 -1 1 | sort -n | sed -n '1p;$p' | xargs)"
expect integers 333383335000 "$(awk 'BEGIN { for (i = 1; i <= 10000; i++) s += i * i; printf "%.0f", s }')"

# One busy process on each processor, all at once.
processors=$(grep -c '^processor' /proc/cpuinfo)
for index in $(seq 0 $((processors - 1))); do
    taskset -c "$index" sh -c 'seq 1 50000 | md5sum' > "/tmp/work.$index" &
done
wait
expect parallel 1 "$(cat /tmp/work.* | sort -u | wc -l)"
expect processes 100 "$(for i in $(seq 1 100); do sh -c 'echo $$'; done | sort -u | wc -l)"
exit "$failures"
