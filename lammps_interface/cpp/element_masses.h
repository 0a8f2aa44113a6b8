// Standard atomic weights in g/mol, as far as one tells elements apart by them.
#pragma once

#include <cmath>
#include <string>

namespace mollifield {

struct ElementMass {
  const char *symbol;
  double mass;
};

inline constexpr ElementMass ELEMENT_MASSES[] = {
    {"H", 1.008},  {"He", 4.003}, {"Li", 6.94},  {"Be", 9.012}, {"B", 10.81},  {"C", 12.01},  {"N", 14.01},
    {"O", 16},     {"F", 19},     {"Ne", 20.18}, {"Na", 22.99}, {"Mg", 24.3},  {"Al", 26.98}, {"Si", 28.09},
    {"P", 30.97},  {"S", 32.06},  {"Cl", 35.45}, {"Ar", 39.95}, {"K", 39.1},   {"Ca", 40.08}, {"Sc", 44.96},
    {"Ti", 47.87}, {"V", 50.94},  {"Cr", 52},    {"Mn", 54.94}, {"Fe", 55.84}, {"Co", 58.93}, {"Ni", 58.69},
    {"Cu", 63.55}, {"Zn", 65.38}, {"Ga", 69.72}, {"Ge", 72.63}, {"As", 74.92}, {"Se", 78.97}, {"Br", 79.9},
    {"Kr", 83.8},  {"Rb", 85.47}, {"Sr", 87.62}, {"Y", 88.91},  {"Zr", 91.22}, {"Nb", 92.91}, {"Mo", 95.95},
    {"Tc", 97.91}, {"Ru", 101.1}, {"Rh", 102.9}, {"Pd", 106.4}, {"Ag", 107.9}, {"Cd", 112.4}, {"In", 114.8},
    {"Sn", 118.7}, {"Sb", 121.8}, {"Te", 127.6}, {"I", 126.9},  {"Xe", 131.3}, {"Cs", 132.9}, {"Ba", 137.3},
    {"La", 138.9}, {"Ce", 140.1}, {"Pr", 140.9}, {"Nd", 144.2}, {"Pm", 144.9}, {"Sm", 150.4}, {"Eu", 152},
    {"Gd", 157.2}, {"Tb", 158.9}, {"Dy", 162.5}, {"Ho", 164.9}, {"Er", 167.3}, {"Tm", 168.9}, {"Yb", 173.1},
    {"Lu", 175},   {"Hf", 178.5}, {"Ta", 180.9}, {"W", 183.8},  {"Re", 186.2}, {"Os", 190.2}, {"Ir", 192.2},
    {"Pt", 195.1}, {"Au", 197},   {"Hg", 200.6}, {"Tl", 204.4}, {"Pb", 207.2}, {"Bi", 209},   {"Po", 209},
    {"At", 210},   {"Rn", 222},   {"Fr", 223},   {"Ra", 226},   {"Ac", 227},   {"Th", 232},   {"Pa", 231},
    {"U", 238},    {"Np", 237},   {"Pu", 244.1}, {"Am", 243.1}, {"Cm", 247.1}, {"Bk", 247.1}, {"Cf", 251.1},
    {"Es", 252.1}, {"Fm", 257.1}, {"Md", 258.1}, {"No", 259.1}, {"Lr", 262.1},
};

// 0 for what is no element.
inline double mass_of(const std::string &symbol)
{
  for (const auto &element : ELEMENT_MASSES)
    if (symbol == element.symbol) return element.mass;
  return 0.0;
}

// How far a mass is from that of an element, as a logarithm; none is far from what is no element.
inline double mass_difference(double mass, const std::string &symbol)
{
  const double standard = mass_of(symbol);
  return standard > 0.0 && mass > 0.0 ? std::abs(std::log(mass / standard)) : 0.0;
}

}  // namespace mollifield
