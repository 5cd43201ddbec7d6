// The first test takes this place.
