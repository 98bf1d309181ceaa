#define LOOKUP_IMPLEMENTATION
#include "lookup.h"
