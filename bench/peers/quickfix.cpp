// QuickFIX's own message classes on the messages of bench/benches/fix.rs, for bench/fix_peer.sh.
//
// Each figure is the best of several rounds, in nanoseconds for one message. A message is built anew
// for each order, as its examples do, or kept, with only what changes set again, which is the least
// that it can do. What came out is printed with its sum, to be held against ours.

#include "config.h"
#include "FixFields.h"
#include "Message.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace {

constexpr int ROUNDS = 9;
constexpr int MESSAGES = 100000;
// 2026-01-05 in New York, as bench::MIDNIGHT.
constexpr time_t MIDNIGHT = 1767589200;

unsigned sum_of(const std::string& text, size_t end) {
  unsigned sum = 0;
  for (size_t at = 0; at < end; ++at) sum += static_cast<unsigned char>(text[at]);
  return sum & 255;
}

template <typename F> double best_ns(F each) {
  double best = 1e18;
  for (int round = 0; round < ROUNDS; ++round) {
    auto begin = std::chrono::steady_clock::now();
    for (int index = 0; index < MESSAGES; ++index) each(index);
    std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
    best = std::min(best, taken.count() / MESSAGES);
  }
  return best;
}

FIX::UtcTimeStamp at(int milliseconds) {
  return FIX::UtcTimeStamp(MIDNIGHT + milliseconds / 1000, milliseconds % 1000, 3);
}

void lay_out(FIX::Message& order) {
  order.getHeader().setField(FIX::BeginString("FIX.4.4"));
  order.getHeader().setField(FIX::MsgType("D"));
  order.getHeader().setField(FIX::SenderCompID("TAPELINE"));
  order.getHeader().setField(FIX::TargetCompID("BROKER"));
  order.getHeader().setField(FIX::SenderSubID("DESK1"));
  order.setField(FIX::HandlInst('1'));
  order.setField(FIX::OrdType('2'));
  order.setField(FIX::TimeInForce('0'));
}

void fill_in(FIX::Message& order, int seq) {
  order.getHeader().setField(FIX::MsgSeqNum(seq));
  order.getHeader().setField(FIX::SendingTime(at(seq), 3));
  order.setField(FIX::ClOrdID("260105-000000123456-002A-00-0001"));
  order.setField(FIX::Symbol("AAPL"));
  order.setField(FIX::Side('1'));
  order.setField(FIX::TransactTime(at(seq), 3));
  order.setField(FIX::OrderQty(300));
  order.setField(FIX::Price(187.25));
}

std::string report() {
  std::string body =
      "35=8\x01" "34=123456\x01" "49=BROKER\x01" "52=20260105-05:00:00.000\x01" "56=TAPELINE\x01"
      "37=ORD-000123456\x01" "11=260105-000000123456-002A-00-0001\x01" "17=EXEC-000987654\x01"
      "150=F\x01" "39=1\x01" "55=AAPL\x01" "54=1\x01" "38=300\x01" "44=187.25\x01" "32=100\x01"
      "31=187.25\x01" "151=200\x01" "14=100\x01" "6=187.25\x01" "60=20260105-05:00:00.000\x01";
  std::string all = "8=FIX.4.4\x01" "9=" + std::to_string(body.size()) + "\x01" + body;
  char trailer[16];
  std::snprintf(trailer, sizeof trailer, "10=%03u\x01", sum_of(all, all.size()));
  return all + trailer;
}

}  // namespace

int main() {
  std::string text;
  uint64_t check = 0;
  double anew = best_ns([&](int index) {
    FIX::Message order;
    lay_out(order);
    fill_in(order, index + 1);
    order.toString(text);
    check += text.size();
  });
  FIX::Message kept;
  lay_out(kept);
  double again = best_ns([&](int index) {
    fill_in(kept, index + 1);
    kept.toString(text);
    check += text.size();
  });
  const std::string bytes = report();
  FIX::Message message;
  FIX::ClOrdID id;
  FIX::CumQty filled;
  FIX::LastPx price;
  double decode = best_ns([&](int) {
    message.setString(bytes, true);
    message.getField(id);
    message.getField(filled);
    message.getField(price);
    check += id.getValue().size();
    if (filled.getValue() != 100 || price.getValue() != 187.25) check = 0;
  });
  std::printf("an order of %zu bytes, a report of %zu bytes, sum %u, checked %llu\n", text.size(),
              bytes.size(), sum_of(bytes, bytes.size()), static_cast<unsigned long long>(check));
  std::printf("encode, built anew %.1f\nencode, kept %.1f\ndecode %.1f\n", anew, again, decode);
  return check == 0;
}
