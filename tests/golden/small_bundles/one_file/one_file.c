#define ONE_FILE_IMPLEMENTATION
#include "one_file.h"
