/* core/version.h: who wrote a result.  A run is done again when one of the two numbers that enter its id changes. */
#ifndef CORE_VERSION_H
#define CORE_VERSION_H

#define PROGRAM "resa"
#define VERSION "0.1.0"

/* Raise when a trace's variables, their meaning or their order change. */
#define TRACE_SCHEMA 1
/* Raise when the engine's numbers change on the same input, be it in the last bit. */
#define ENGINE_NUMERICS 1

#endif
