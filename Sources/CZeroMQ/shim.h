// The C interface of libzmq, nothing else.
#include <zmq.h>
