// For the address sanitizer's builds only: libraries that were loaded at run time stay loaded. The leak check runs at
// exit, and a leak inside a plug-in that is gone by then has no name that leaks.txt could match (OpenVINO's CPU plug-in
// leaks 8 bytes so).

extern "C" int dlclose(void* /*handle*/) { return 0; }
