# Runs the program that the host has put into its folder `data`, once for each unit that the file `units` names, and leaves
# there what it prints.
. /etc/roost/expect.sh
drivers share

mkdir -p /mnt
expect mount 0 "$(mount -t virtiofs data /mnt; echo $?)"
cp /mnt/floats /tmp/
chmod 755 /tmp/floats
for unit in $(cat /mnt/units); do
    expect "$unit" 0 "$(/tmp/floats "$unit" > "/mnt/$unit"; echo $?)"
done
expect unmount 0 "$(umount /mnt; echo $?)"
exit "$failures"
