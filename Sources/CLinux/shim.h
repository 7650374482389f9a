// Anonymous files that can be sealed: memfd_create(2), fcntl(2). glibc shows them under _GNU_SOURCE only.
#pragma once

int memfd_create(const char *name, unsigned int flags);

enum {
  temper_MFD_CLOEXEC = 0x1,
  temper_MFD_ALLOW_SEALING = 0x2,
  temper_F_ADD_SEALS = 1033,
  temper_F_GET_SEALS = 1034,
  temper_F_SEAL_SHRINK = 0x2,
  temper_F_SEAL_GROW = 0x4,
};
