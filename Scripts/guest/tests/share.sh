# Mounts the folder `data` of the host's, in which there is a file `from-host`, and works in it.
. /etc/roost/expect.sh
drivers share

sum() { sha256sum | cut -d ' ' -f 1; }
mkdir -p /mnt
expect mount 0 "$(mount -t virtiofs data /mnt; echo $?)"
cd /mnt
expect "host's words" 'words of the host' "$(cat from-host)"

head -c 1048576 /dev/urandom > /tmp/pattern
cp /tmp/pattern written
expect written 0 "$(cmp written /tmp/pattern; echo $?)"
echo 3 > /proc/sys/vm/drop_caches
expect "read anew" 0 "$(cmp written /tmp/pattern; echo $?)"
printf more >> written
expect length 1048580 "$(stat -c %s written)"

mkdir folder
mv written folder/renamed
expect renamed "folder/renamed" "$(find . -name renamed -o -name written | sed 's/^..//')"
ln -s renamed folder/link
expect link 1048580 "$(stat -L -c %s folder/link)"
chmod 640 folder/renamed
expect mode 640 "$(stat -c %a folder/renamed)"
for index in $(seq 1 50); do echo "$index" > "folder/$index"; done
expect files 52 "$(ls folder | wc -l)"
rm folder/[0-9]*
expect "files left" 'link renamed' "$(ls folder | xargs)"
mkdir folder/full && touch folder/full/file
expect "a full folder stays" kept "$(rmdir folder/full 2>/dev/null || echo kept)"
expect "nothing there" 1 "$(cat absent 2>&1 | grep -c 'No such file')"
echo "ROOST-TEST: share renamed is $(sum < folder/renamed)"
cd /
expect unmount 0 "$(umount /mnt; echo $?)"
exit "$failures"
