#pragma once
#include <stddef.h>
#include <stdint.h>

// Files of a host directory, each reached from a descriptor that we hold and by one name at most.
//
// Every function answers a result of 0 or more, or a negated error number. Names are single components that end
// in a zero byte. `node` is a descriptor opened with O_PATH: it names a file and cannot read or write it. `proc` is
// /proc/self/fd, opened with O_PATH: through it a node is opened or changed without any name of the file's.

/// What the host knows about a file.
struct roost_attributes {
  uint64_t device, inode, size, blocks;
  int64_t accessed, modified, changed, born;
  uint32_t accessed_nanoseconds, modified_nanoseconds, changed_nanoseconds, born_nanoseconds;
  uint32_t mode, links, user, group, block_size, special_major, special_minor;
};

/// What the host knows about a file system.
struct roost_file_system {
  uint64_t type, block_size, fragment_size, blocks, free_blocks, available_blocks, files, free_files, identity;
  uint64_t name_length;
};

/// A region of a file, for locks. A `length` of 0 reaches to the end, however far that is.
struct roost_region {
  int64_t start, length;
  int32_t kind, process;  ///< `kind`: 0 shared, 1 exclusive, 2 none.
};

int roost_dir_open_root(const char *path);
int roost_dir_open_proc(void);
int roost_dir_look_up(int directory, const uint8_t *name);
int roost_dir_create(int directory, const uint8_t *name, int flags, uint32_t mode);
int roost_dir_reopen(int proc, int node, int flags);
int roost_dir_open_list(int node);

int roost_dir_attributes(int node, struct roost_attributes *attributes);
int roost_dir_file_system(int node, struct roost_file_system *system);
int roost_dir_set_mode(int proc, int node, uint32_t mode);
int roost_dir_set_owner(int node, uint32_t user, uint32_t group);
/// Nanoseconds of -1 mean now, of -2 mean no change.
int roost_dir_set_times(int proc, int node, int64_t accessed, int64_t accessed_nanoseconds, int64_t modified,
                        int64_t modified_nanoseconds);
int roost_dir_access(int proc, int node, int mask);
long roost_dir_read_link(int node, uint8_t *target, size_t room);
/// The path by which the host knows the node, as a hint: it is out of date at once.
long roost_dir_path(int proc, int node, uint8_t *path, size_t room);

int roost_dir_make_directory(int directory, const uint8_t *name, uint32_t mode);
int roost_dir_make_node(int directory, const uint8_t *name, uint32_t mode);
int roost_dir_make_symbolic_link(int directory, const uint8_t *name, const uint8_t *target);
int roost_dir_link(int proc, int node, int directory, const uint8_t *name);
int roost_dir_unlink(int directory, const uint8_t *name, int is_directory);
int roost_dir_rename(int from, const uint8_t *old_name, int to, const uint8_t *new_name, uint32_t flags);

long roost_dir_attribute(int node, const uint8_t *name, uint8_t *value, size_t room);
long roost_dir_attribute_names(int node, uint8_t *names, size_t room);
int roost_dir_set_attribute(int node, const uint8_t *name, const uint8_t *value, size_t size, int flags);
int roost_dir_remove_attribute(int node, const uint8_t *name);

long roost_dir_read(int file, uint8_t *bytes, size_t count, int64_t offset);
long roost_dir_write(int file, const uint8_t *bytes, size_t count, int64_t offset);
int roost_dir_truncate(int file, int64_t size);
int roost_dir_sync(int file, int only_data);
int64_t roost_dir_seek(int file, int64_t offset, int whence);
int roost_dir_allocate(int file, int mode, int64_t offset, int64_t length);
long roost_dir_copy(int from, int64_t from_offset, int to, int64_t to_offset, size_t count);
int roost_dir_lock(int file, const struct roost_region *region);
int roost_dir_find_lock(int file, struct roost_region *region);
long roost_dir_list(int directory, uint8_t *entries, size_t room);

int roost_descriptors_limit(uint64_t *soft, uint64_t *hard);
int roost_descriptors_set_limit(uint64_t soft);
