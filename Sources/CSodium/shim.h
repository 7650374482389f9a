// Only the hash that checkpoints need; the rest of libsodium stays out of sight.
#include <sodium/core.h>
#include <sodium/crypto_hash_sha256.h>
